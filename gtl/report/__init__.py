"""Run folders in, tables and plots out; reads files, never a model."""
