"""Running a plan: driver, dispatch, resume, progress."""
