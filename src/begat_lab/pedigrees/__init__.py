"""Pedigrees that come with the lab, by name: `begat-lab grow quick`. Read by `begat_lab.pedigree`, which explains the format."""
