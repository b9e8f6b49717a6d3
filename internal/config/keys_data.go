package config

// DataKeys say what is trained on and how rows become token sequences.
type DataKeys struct {
	// Training data: a list of files, directories or hub paths (hf://org/name/file), each with its options.
	Datasets []Dataset `yaml:"datasets"`
	// Training data when it is a single file, directory or hub path: short for datasets with one entry.
	DatasetName string `yaml:"dataset_name" alias:"dataset,dataset_dir"`
	// Split that is trained on, where the data has splits of its own, or a part of it: train[:90%].
	DatasetTrainSplit string `yaml:"dataset_train_split"`
	// Split that is evaluated on, where the data has splits of its own, or a part of one: train[90%:].
	DatasetTestSplit string `yaml:"dataset_test_split" alias:"eval_split"`
	// Data to evaluate on during training, in the form of datasets.
	EvalDataset []Dataset `yaml:"eval_dataset" alias:"test_datasets"`
	// Part of the training rows that is held out for evaluation: a fraction below 1, or a number of rows.
	TestSize float64 `yaml:"test_size" alias:"val_set_size,val_size" min:"0"`
	// What to do with a row that cannot be used: stop with its file and line, or skip and count it.
	OnBadRow string `yaml:"on_bad_row" enum:"error,skip"`
	// Longest sequence, in tokens; longer rows are truncated.
	MaxLength int `yaml:"max_length" alias:"sequence_len,cutoff_len,max_seq_length" min:"1"`
	// Which end of a row that exceeds max_length is kept.
	TruncationMode string `yaml:"truncation_mode" enum:"keep_start,keep_end"`
	// Chat layout: auto takes the model's own, else the built-in plain alpaca layout; or the name of a built-in layout, or a template file.
	ChatTemplate string `yaml:"chat_template" alias:"chat_template_path"`
	// Put several rows into one sequence of max_length tokens. Attention and positions stay within each row.
	Packing bool `yaml:"packing" alias:"sample_packing"`
	// How rows are packed: bfd keeps rows whole, by best-fit decreasing, and truncates those longer than max_length; bfd_split cuts those into several instead, so that no token is lost; wrapped cuts the stream of all tokens every max_length.
	PackingStrategy string `yaml:"packing_strategy" enum:"bfd,bfd_split,wrapped"`
	// Pack the evaluation rows. auto does as packing does.
	EvalPacking Auto[bool] `yaml:"eval_packing" alias:"eval_sample_packing"`
	// Lay the rows of a batch end to end. Attention stays within each row. false pads every row to the longest of its batch: the same loss, more work.
	PaddingFree bool `yaml:"padding_free"`
	// Train only the tokens that the assistant says.
	AssistantOnlyLoss bool `yaml:"assistant_only_loss"`
	// Train only the completion of prompt/completion rows. auto is true for such rows.
	CompletionOnlyLoss Auto[bool] `yaml:"completion_only_loss"`
	// Order of the training rows: shuffled by seed, as they come, or rows of like length together.
	TrainSamplingStrategy string `yaml:"train_sampling_strategy" enum:"random,sequential,group_by_length"`
	// Seed of the order of the training rows. auto takes seed.
	DataSeed Auto[int] `yaml:"data_seed" min:"0"`
	// Leave out the last batch of an epoch when it is not full.
	DataloaderDropLast bool `yaml:"dataloader_drop_last"`
	// Read and tokenise rows while training instead of before it.
	Streaming bool `yaml:"streaming"`
	// Workers that tokenise rows. auto takes the number of processors.
	DatasetNumProc Auto[int] `yaml:"dataset_num_proc" alias:"preprocessing_num_workers" min:"1"`
}

// Dataset is one entry of datasets or eval_dataset. A bare string stands for
// an entry with that path.
type Dataset struct {
	// File, directory or hub path (hf://org/name/file).
	Path string `yaml:"path"`
	// Split to read, where the data has splits of its own, or a part of one by rows or hundredths: train[:1000], train[90%:].
	Split string `yaml:"split"`
	// Shape of the rows; auto recognises it by their keys.
	Type string `yaml:"type" enum:"auto,text,messages,conversations,alpaca,prompt_completion,preference,unpaired_preference"`
	// Part of the rows that is used, drawn by data_seed.
	Fraction float64 `yaml:"fraction" above:"0" max:"1"`
	// Share of this dataset in the mixture, relative to the others; 0 uses every row once.
	Weight float64 `yaml:"weight" min:"0"`
	// Names of the data's own columns, by the names that the row shape expects, such as {prompt: question, completion: answer}.
	Columns map[string]string `yaml:"columns"`
}

func newDataset(path string) Dataset {
	return Dataset{Path: path, Type: "auto", Fraction: 1}
}
