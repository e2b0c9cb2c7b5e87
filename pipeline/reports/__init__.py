"""Pages that people look at: a run, a certificate, a comparison."""
