"""The commands of people and of the pipeline."""
