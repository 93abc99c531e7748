"""Every knob, typed: YAML in, all errors out at once."""
