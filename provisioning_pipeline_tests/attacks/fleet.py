"""One tenant database for each way in which a role that owns it took this program over, stopped it, or misled it."""

from provisioning_pipeline_tests.attacks import Attack
from provisioning_pipeline_tests.attacks.writing import HARMLESS, PAIRS, REFUSED

_BY_NAME = {attack.name: attack for attack in [*REFUSED, *HARMLESS]}
UNSAFE, TOO_LARGE, HAND_MADE = "TenantDatabaseUnsafe", "TenantDatabaseTooLarge", "HandMadeWorkspace"

_SWALLOWING = """
CREATE FUNCTION evil.swallow(text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    LOOP
        BEGIN
            PERFORM evil.run(), pg_sleep(1);
        EXCEPTION WHEN query_canceled THEN NULL;
        END;
    END LOOP;
END $$;
"""
_VIEW = """
ALTER TABLE core."user" RENAME TO hidden;
CREATE VIEW core."user" AS SELECT id, {email} AS email, "firstName", "lastName", "deletedAt" FROM core.hidden;
GRANT SELECT ON core."user", core.hidden TO PUBLIC;
"""
_LOOSE = "ALTER TABLE core.workspace DROP CONSTRAINT workspace_pkey CASCADE, ALTER id DROP NOT NULL;"
_ODD = f"INSERT INTO {PAIRS} (key, value) VALUES ('ONBOARDING_CREATE_PROFILE_PENDING', {{value}}::jsonb)"

FLEET: dict[Attack, str | None] = {
    _BY_NAME["before trigger"]: UNSAFE,
    _BY_NAME["deferred constraint trigger"]: UNSAFE,
    _BY_NAME["row policy"]: UNSAFE,
    _BY_NAME["search path of the database"]: HAND_MADE,
    _BY_NAME["cast of their own enum to text"]: HAND_MADE,
    _BY_NAME["partial index"]: UNSAFE,
    Attack(
        "view that takes the limits off",
        "CREATE FUNCTION evil.unlimited(text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN"
        " PERFORM set_config('default_transaction_read_only', 'off', false);"
        " PERFORM set_config('statement_timeout', '0', false); PERFORM evil.run(); RETURN $1; END $$;"
        + _VIEW.format(email="evil.unlimited(email)"),
    ): UNSAFE,
    Attack("view that swallows a cancel", _SWALLOWING + _VIEW.format(email="evil.swallow(email)")): UNSAFE,
    Attack(
        "cast of a type of their own to text",
        "CREATE TYPE evil.mail AS (a text);"
        "CREATE FUNCTION evil.told(evil.mail) RETURNS text LANGUAGE plpgsql AS 'BEGIN RETURN evil.made(); END';"
        "CREATE CAST (evil.mail AS text) WITH FUNCTION evil.told(evil.mail);"
        'DROP INDEX core."UQ_USER_EMAIL";'
        'ALTER TABLE core."user" ALTER email TYPE evil.mail USING ROW(email)::evil.mail',
    ): UNSAFE,
    Attack(
        "workspace without an id", f"{_LOOSE} INSERT INTO core.workspace (id, subdomain) VALUES (NULL, 'odd')"
    ): None,
    Attack("value nested 1,500 deep", _ODD.format(value="(repeat('[', 1500) || repeat(']', 1500))")): None,
    Attack("number of 5,000 digits", _ODD.format(value="repeat('9', 5000)")): None,
    Attack(
        "400,000 pending rows",
        f'ALTER TABLE {PAIRS} DROP CONSTRAINT "keyValuePair_userId_fkey";'
        f"INSERT INTO {PAIRS} (key, value, \"userId\") SELECT 'ONBOARDING_CREATE_PROFILE_PENDING', 'true',"
        " gen_random_uuid() FROM generate_series(1, 400000)",
    ): TOO_LARGE,
    Attack(
        "125 people of any address",
        'WITH people AS (INSERT INTO core."user" (email) SELECT'
        " CASE n WHEN 1 THEN 'ceo@bigbank.example' ELSE format('p%s@bigbank.example', n) END"
        " FROM generate_series(1, 125) n RETURNING id),"
        ' ties AS (INSERT INTO core."userWorkspace" ("userId", "workspaceId") SELECT p.id, w.id FROM people p,'
        ' core.workspace w RETURNING id, "workspaceId")'
        ' INSERT INTO core."roleTarget" ("workspaceId", "roleId", "userWorkspaceId")'
        " SELECT t.\"workspaceId\", r.id, t.id FROM ties t JOIN core.role r ON r.label = 'Admin'",
    ): HAND_MADE,
}
"""With the reason that `TenantDatabase` has afterwards; None: any, since only nothing of it may go further."""
