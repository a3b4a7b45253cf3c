"""Choose a configuration and train its members."""
