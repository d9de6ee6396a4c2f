"""The submission listeners: authenticated mail comes in here and nowhere else."""
