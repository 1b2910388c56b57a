"""Our own tables, schema `provisioning` in the registry's database: links, conditions, intents, outcomes, runs."""
