"""What stops mail from arriving, looked for before somebody complains: one file a question."""
