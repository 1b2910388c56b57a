"""Attacks on whoever removes onboarding rows, puts them back, or sets a workspace's status."""

from provisioning_pipeline_tests.attacks import Attack

PAIRS = 'core."keyValuePair"'
RUNS_SQL = "ts_rewrite('a'::tsquery, 'SELECT ''a''::tsquery, ''b''::tsquery WHERE evil.run()')"
"""A function that comes with PostgreSQL, belongs to a superuser, and runs SQL that it is given as text."""

REFUSED: dict[Attack, str] = {
    Attack(
        "before trigger",
        f"CREATE TRIGGER t BEFORE INSERT OR DELETE ON {PAIRS} FOR EACH ROW EXECUTE FUNCTION evil.fired()",
    ): "trigger",
    Attack(
        "after trigger",
        f"CREATE TRIGGER t AFTER INSERT OR DELETE ON {PAIRS} FOR EACH ROW EXECUTE FUNCTION evil.fired()",
    ): "trigger",
    Attack(
        "statement trigger",
        f"CREATE TRIGGER t BEFORE INSERT OR DELETE ON {PAIRS} EXECUTE FUNCTION evil.fired()",
    ): "trigger",
    Attack(
        "deferred constraint trigger",
        f"CREATE CONSTRAINT TRIGGER t AFTER INSERT OR DELETE ON {PAIRS} INITIALLY DEFERRED FOR EACH ROW "
        "EXECUTE FUNCTION evil.fired()",
    ): "trigger",
    Attack(
        "rule",
        f"CREATE RULE on_delete AS ON DELETE TO {PAIRS} DO ALSO SELECT evil.run();"
        f"CREATE RULE on_insert AS ON INSERT TO {PAIRS} DO ALSO SELECT evil.run()",
    ): "rule",
    Attack(
        "row policy",
        f"ALTER TABLE {PAIRS} ENABLE ROW LEVEL SECURITY;"
        f"CREATE POLICY p ON {PAIRS} USING (evil.run()) WITH CHECK (evil.run())",
    ): "row security",
    Attack("index on an expression", f"CREATE INDEX ON {PAIRS} ((evil.folded(1)))"): "index",
    Attack("partial index", f"CREATE INDEX ON {PAIRS} (key) WHERE evil.folded(1)"): "index",
    Attack("extended statistics", f"CREATE STATISTICS evil.s ON key, (evil.folded(1)) FROM {PAIRS}"): "statistics",
    Attack(
        "domain",
        "CREATE DOMAIN evil.domain AS text CHECK (evil.checked(VALUE));"
        f"ALTER TABLE {PAIRS} ADD COLUMN more evil.domain",
    ): "neither a built-in type nor an enum",
    Attack(
        "cast of a type of their own to json",
        "CREATE TYPE evil.pair AS RANGE (subtype = integer);"
        "CREATE FUNCTION evil.as_json(evil.pair) RETURNS json LANGUAGE plpgsql AS"
        " $$ BEGIN PERFORM evil.run(); RETURN 'null'; END $$;"
        "CREATE CAST (evil.pair AS json) WITH FUNCTION evil.as_json(evil.pair);"
        f"ALTER TABLE {PAIRS} ADD COLUMN more evil.pair DEFAULT 'empty'",
    ): "neither a built-in type nor an enum",
    Attack(
        "child table",
        f"CREATE TABLE evil.child () INHERITS ({PAIRS}); INSERT INTO evil.child (key) VALUES ('x');"
        "CREATE TRIGGER t BEFORE DELETE ON evil.child FOR EACH ROW EXECUTE FUNCTION evil.fired()",
    ): "part of another table",
    Attack(
        "view in place of the table",
        f"ALTER TABLE {PAIRS} RENAME TO below;"
        f"CREATE VIEW {PAIRS} AS SELECT * FROM core.below WHERE evil.run();"
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON {PAIRS} TO provisioning_tenants",
    ): "no plain table",
}
"""Each, with what the refusal names. All of them meet rows that go and rows that come back."""

REFUSED_REMOVAL: dict[Attack, str] = {
    Attack(
        "cascade to a table with a deferred trigger",
        f"CREATE TABLE evil.hanging (of uuid REFERENCES {PAIRS} ON DELETE CASCADE);"
        f"INSERT INTO evil.hanging SELECT id FROM {PAIRS};"
        "CREATE CONSTRAINT TRIGGER t AFTER DELETE ON evil.hanging INITIALLY DEFERRED FOR EACH ROW "
        "EXECUTE FUNCTION evil.fired()",
    ): "referred to by a foreign key",
}

REFUSED_RETURN: dict[Attack, str] = {
    Attack("CHECK", f"ALTER TABLE {PAIRS} ADD CHECK (evil.checked(key)) NOT VALID"): "CHECK constraint",
    Attack(
        "CHECK that has PostgreSQL run SQL", f"ALTER TABLE {PAIRS} ADD CHECK ({RUNS_SQL} IS NOT NULL) NOT VALID"
    ): "CHECK constraint",
    Attack("default", f"ALTER TABLE {PAIRS} ADD COLUMN more text DEFAULT evil.made()"): "default",
    Attack(
        "default that has PostgreSQL run SQL", f"ALTER TABLE {PAIRS} ADD COLUMN more tsquery DEFAULT {RUNS_SQL}"
    ): "default",
    Attack(
        "generated column",
        f"ALTER TABLE {PAIRS} ADD COLUMN more boolean GENERATED ALWAYS AS (evil.checked(key)) STORED",
    ): "generated column",
    Attack(
        # runs as its owner while a foreign key is looked up, and leaves behind what runs as us at the commit
        "index on what a foreign key refers to",
        """
        CREATE FUNCTION evil.leave_behind() RETURNS void LANGUAGE plpgsql AS $$
        BEGIN
            IF session_user NOT LIKE 'owner\\_of\\_%' THEN
                EXECUTE 'DECLARE c CURSOR WITH HOLD FOR SELECT evil.run()';
            END IF;
        END $$;
        CREATE FUNCTION evil.left_behind(integer) RETURNS boolean IMMUTABLE LANGUAGE plpgsql AS
            'BEGIN PERFORM evil.leave_behind(); RETURN true; END';
        CREATE INDEX ON core."user" ((evil.left_behind(1)))
        """,
    ): "index",
}

HARMLESS: tuple[Attack, ...] = (
    Attack("nothing", ""),
    Attack(
        "cast of their own enum to text",
        'CREATE FUNCTION evil.as_text(core."keyValuePair_type_enum") RETURNS text LANGUAGE plpgsql AS'
        " 'BEGIN RETURN evil.made(); END';"
        'CREATE FUNCTION evil.as_json(core."keyValuePair_type_enum") RETURNS json LANGUAGE plpgsql AS'
        " $$ BEGIN PERFORM evil.run(); RETURN 'null'; END $$;"
        'CREATE CAST (core."keyValuePair_type_enum" AS text) WITH FUNCTION'
        ' evil.as_text(core."keyValuePair_type_enum") AS IMPLICIT;'
        'CREATE CAST (core."keyValuePair_type_enum" AS json) WITH FUNCTION'
        ' evil.as_json(core."keyValuePair_type_enum") AS IMPLICIT',
    ),
    Attack(
        "search path of the database",
        "CREATE FUNCTION evil.same(text, text) RETURNS boolean LANGUAGE plpgsql AS 'BEGIN RETURN evil.run(); END';"
        "CREATE OPERATOR evil.= (LEFTARG = text, RIGHTARG = text, FUNCTION = evil.same);"
        "CREATE FUNCTION evil.same(jsonb, jsonb) RETURNS boolean LANGUAGE plpgsql AS 'BEGIN RETURN evil.run(); END';"
        "CREATE OPERATOR evil.= (LEFTARG = jsonb, RIGHTARG = jsonb, FUNCTION = evil.same);"
        "CREATE FUNCTION evil.to_jsonb(jsonb) RETURNS jsonb LANGUAGE plpgsql AS"
        " $$ BEGIN PERFORM evil.run(); RETURN $1; END $$;"
        "CREATE FUNCTION evil.has_table_privilege(regclass, text) RETURNS boolean LANGUAGE plpgsql AS"
        " 'BEGIN RETURN evil.run(); END';"
        "CREATE FUNCTION evil.lower(text) RETURNS text LANGUAGE plpgsql AS 'BEGIN RETURN evil.made(); END';"
        "ALTER DATABASE DATABASE_NAME SET search_path = evil, pg_catalog",
    ),
    Attack("a column with a per cent sign", f'ALTER TABLE {PAIRS} ADD COLUMN "%s %(more)s" text'),
)
"""What is there changes nothing: the rows go and come back, and nothing runs."""

REFUSED_STATUS: dict[Attack, str] = {
    Attack(
        "trigger on the workspace",
        "CREATE TRIGGER t BEFORE UPDATE ON core.workspace FOR EACH ROW EXECUTE FUNCTION evil.fired()",
    ): "trigger",
    Attack(
        "CHECK on the workspace", "ALTER TABLE core.workspace ADD CHECK (evil.checked(subdomain)) NOT VALID"
    ): "CHECK constraint",
    Attack(
        "cascade from the status",
        'CREATE UNIQUE INDEX one ON core.workspace ("activationStatus");'
        'CREATE TABLE evil.hanging (of core."workspace_activationStatus_enum" REFERENCES core.workspace'
        ' ("activationStatus") ON UPDATE CASCADE);'
        'INSERT INTO evil.hanging SELECT "activationStatus" FROM core.workspace;'
        "CREATE TRIGGER t AFTER UPDATE ON evil.hanging FOR EACH ROW EXECUTE FUNCTION evil.fired()",
    ): "referred to by a foreign key",
}
