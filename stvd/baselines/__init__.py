"""The systems that STVD is compared with: (coarse, grid) in, an ensemble on the fine grid out."""
