"""Twenty CRM: its GraphQL API on `/metadata`, and reads of its own database (schema `core`)."""
