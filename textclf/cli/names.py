"""The commands, and the names that other tools give to commands and options."""

from __future__ import annotations

COMMANDS = {
    "fit": "Trains a method on a data set, then tests the best checkpoint.",
    "validate": "Measures on the validation split, and writes the report.",
    "test": "Measures on the test split, and writes the report.",
    "predict": "Labels texts that have no label.",
}
"""What each command does."""

NAMES_OF_COMMANDS = {
    "fit": "train training finetune fine_tune learn run",
    "validate": "val valid validation dev eval evaluate evaluation",
    "test": "score benchmark",
    "predict": "infer inference classify label pred prediction",
}
NAMES_OF_OPTIONS = {
    "--ckpt_path": "checkpoint ckpt checkpoint_path load resume resume_from_checkpoint resume_from weights",
    "--config": "cfg conf config_file yaml",
    "--data.batch_size": "batch bs train_batch_size per_device_train_batch_size per_gpu_train_batch_size",
    "--data.data_dir": "data_path data_folder dataset dataset_name dataset_path train_file train_data train_path",
    "--data.eval_batch_size": "test_batch_size per_device_eval_batch_size per_gpu_eval_batch_size",
    "--data.label_names": "labels classes class_names id2label",
    "--data.limit": "max_samples max_train_samples max_eval_samples max_predict_samples subset n_samples",
    "--data.num_workers": "workers dataloader_num_workers",
    "--data.shots_per_class": "shots_per_label samples_per_class k_shot few_shot",
    "--data.text_pair_column": "sentence2_column text2_column",
    "--data.text_column": "sentence1_column sentence_column text1_column",
    "--data.val_size": "validation_split val_split dev_size validation_size",
    "--input": "input_file input_path file infile",
    "--model.learning_rate": "lr",
    "--model.max_length": "max_len max_seq_length max_seq_len max_source_length sequence_length seq_len",
    "--model.pretrained": "model_name model_name_or_path model_path pretrained_model pretrained_model_name_or_path "
    "encoder backbone hf_model",
    "--model.warmup": "warmup_steps warmup_ratio num_warmup_steps",
    "--output": "output_file output_path out outfile",
    "--run_dir": "output_dir save_dir log_dir logging_dir exp_dir experiment_dir",
    "--run_name": "name experiment experiment_name exp_name",
    "--seed_everything": "seed random_seed manual_seed",
    "--texts": "text sentence sentences",
    "--trainer.accelerator": "device accelerator_type",
    "--trainer.accelerator cpu": "cpu no_cuda use_cpu",
    "--trainer.accumulate_grad_batches": "gradient_accumulation_steps grad_accum accumulate grad_accumulation",
    "--trainer.callbacks+=EarlyStopping --trainer.callbacks.monitor=val/macro_f1": "patience early_stopping "
    "early_stopping_patience",
    "--trainer.devices": "gpus gpu num_gpus n_gpu n_gpus ngpus nproc nproc_per_node num_devices",
    "--trainer.fast_dev_run": "debug dry_run",
    "--trainer.gradient_clip_val": "max_grad_norm grad_clip clip gradient_clip clip_grad_norm",
    "--trainer.log_every_n_steps": "logging_steps log_interval log_every",
    "--trainer.logger false": "no_wandb no_log no_logging",
    "--trainer.max_epochs": "epochs epoch num_epochs n_epochs num_train_epochs train_epochs ep",
    "--trainer.max_steps": "steps num_steps num_train_steps max_train_steps train_steps",
    "--trainer.num_nodes": "nnodes nodes",
    "--trainer.precision": "dtype mixed_precision",
    "--trainer.precision 16-mixed": "fp16 half amp",
    "--trainer.precision 32-true": "fp32",
    "--trainer.precision bf16-mixed": "bf16",
    "--trainer.val_check_interval": "eval_steps eval_interval evaluation_steps",
}

COMMAND_ALIASES = {alias: command for command, names in NAMES_OF_COMMANDS.items() for alias in names.split()}
"""The command for each name in other tools."""
OPTION_ALIASES = {alias: option for option, names in NAMES_OF_OPTIONS.items() for alias in names.split()}
"""The option, some with a value, for each name in other tools."""
