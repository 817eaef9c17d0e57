"""Where jobs run: this machine, its Docker engine, a Slurm cluster, HF Jobs; one interface for all."""
