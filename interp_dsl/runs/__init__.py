"""Run folders: the only place where the engine and the screens meet. No torch."""
