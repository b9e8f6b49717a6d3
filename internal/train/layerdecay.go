package train

import (
	"math"
	"regexp"
	"strconv"

	"github.com/mltrain/mltrain/internal/config"
	"github.com/mltrain/mltrain/internal/model"
	"github.com/mltrain/mltrain/internal/nn"
)

// lrScales returns what multiplies the learning rate of each parameter, or nil if all learn at the same rate.
func lrScales(cfg *config.Config, configJSON []byte) (func(*nn.Weight) float64, error) {
	var scales []func(*nn.Weight) float64
	if cfg.UsePeft && cfg.LoraplusLRRatio > 0 {
		scales = append(scales, loraPlus(cfg.LoraplusLRRatio, cfg.LearningRate))
	}
	if cfg.LayerLRDecay != 1 {
		m, err := model.New(configJSON, nn.NewBuilder(nn.Options{}), model.Options{})
		if err != nil {
			return nil, err
		}
		scales = append(scales, layerDecay(cfg.LayerLRDecay, m.Info().Layers))
	}
	if len(scales) == 0 {
		return nil, nil
	}
	return func(w *nn.Weight) float64 {
		product := 1.0
		for _, f := range scales {
			product *= f(w)
		}
		return product
	}, nil
}

// layerNumber finds the number of the layer in a parameter's name: model.layers.3.mlp.up_proj.weight, h.3.attn.c_attn.weight.
var layerNumber = regexp.MustCompile(`(?:^|\.)(?:layers|h)\.(\d+)\.`)

// embeddings are the parameters below the first layer.
var embeddings = regexp.MustCompile(`(?:^|\.)(?:embed_tokens|wte|wpe)\.`)

// layerDecay is the learning rate of each parameter of a model of n layers, relative to the run's, when it falls by the factor
// decay from each layer to the one below (Clark et al., 2020, "ELECTRA", appendix A): 1 for the head and the last norm, decayⁿ⁻ⁱ
// for layer i from 0, decayⁿ⁺¹ for the embeddings. A head that is the token embedding learns as embeddings do.
func layerDecay(decay float64, n int) func(*nn.Weight) float64 {
	return func(w *nn.Weight) float64 {
		if m := layerNumber.FindStringSubmatch(w.Name); m != nil {
			if i, err := strconv.Atoi(m[1]); err == nil {
				return math.Pow(decay, float64(n-i))
			}
		}
		if embeddings.MatchString(w.Name) {
			return math.Pow(decay, float64(n+1))
		}
		return 1
	}
}
