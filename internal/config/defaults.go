package config

import "slices"

// Commands lists the commands that read a run config.
func Commands() []string { return []string{"pretrain", "sft", "lora", "dpo", "reward"} }

func isCommand(name string) bool { return slices.Contains(Commands(), name) }

// Default returns the run config of a command when nothing is set. The
// learning rate is that of a run whose use_peft has its default too; [Load]
// adapts it to the use_peft of the run.
func Default(command string) Config {
	c := Config{
		ModelKeys: ModelKeys{
			Dtype:  "auto",
			Device: "auto",

			AllowBF16ReducedPrecisionReduction: true,
		},
		DataKeys: DataKeys{
			DatasetTrainSplit:     "train",
			OnBadRow:              "error",
			MaxLength:             1024,
			TruncationMode:        "keep_start",
			ChatTemplate:          "auto",
			PackingStrategy:       "bfd",
			PaddingFree:           true,
			TrainSamplingStrategy: "random",
		},
		TrainKeys: TrainKeys{
			PerDeviceTrainBatchSize:   8,
			PerDeviceEvalBatchSize:    8,
			GradientAccumulationSteps: 1,
			NumTrainEpochs:            3,
			MaxSteps:                  -1,
			Seed:                      42,
			EvalStrategy:              "no",
			SaveStrategy:              "steps",
			SaveSteps:                 500,
		},
		OptimKeys: OptimKeys{
			Optim:           "adamw",
			LRSchedulerType: "linear",
			LayerLRDecay:    1,
			AdamBeta1:       0.9,
			AdamBeta2:       0.999,
			AdamEpsilon:     1e-8,
			MaxGradNorm:     1,
		},
		ReportKeys: ReportKeys{
			LoggingSteps:       10,
			SampleMaxNewTokens: 64,
		},
		PeftKeys: PeftKeys{
			UsePeft:             command == "lora",
			LoraR:               16,
			LoraAlpha:           32,
			LoraDropout:         0.05,
			LoraTargetModules:   Targets{Pattern: AllLinear},
			LoraBias:            "none",
			InitLoraWeights:     "true",
			BnB4bitQuantType:    "nf4",
			BnB4bitComputeDtype: "auto",
		},
		PreferenceKeys: PreferenceKeys{
			Beta:               0.1,
			LossType:           []string{"sigmoid"},
			SimpoGamma:         0.5,
			DiscopopTau:        0.05,
			DesirableWeight:    1,
			UndesirableWeight:  1,
			DisableDropout:     true,
			RefModelMixupAlpha: 0.6,
			RefModelSyncSteps:  512,
		},
	}
	c.LearningRate = defaultLearningRate(command, c.UsePeft)
	return c
}

// defaultLearningRate is the usual rate of each method: an adapter bears a
// rate ten times that of the whole model.
func defaultLearningRate(command string, adapter bool) float64 {
	switch command {
	case "pretrain":
		return 3e-4
	case "reward":
		return 1e-4
	case "dpo":
		if adapter {
			return 1e-5
		}
		return 1e-6
	}
	if adapter {
		return 2e-4
	}
	return 2e-5
}
