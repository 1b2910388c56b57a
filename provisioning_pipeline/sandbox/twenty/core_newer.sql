-- What 2.38 has in schema `core` besides, as far as this project reads it (source only: a compiled 2.38 server).
-- Safe to run again, and on the database of a 2.21 that is being upgraded.

ALTER TYPE core."workspace_activationStatus_enum" ADD VALUE IF NOT EXISTS 'CREATED' BEFORE 'ACTIVE';

ALTER TABLE core."keyValuePair" ADD COLUMN IF NOT EXISTS "applicationId" uuid;
DO $$ BEGIN
  IF EXISTS (SELECT FROM pg_indexes WHERE schemaname = 'core' AND tablename = 'keyValuePair'
             AND indexname LIKE 'IDX_KEY_VALUE_PAIR_KEY_%' AND indexdef NOT LIKE '%applicationId%') THEN
    DROP INDEX core."IDX_KEY_VALUE_PAIR_KEY_USER_ID_WORKSPACE_ID_UNIQUE";
    DROP INDEX core."IDX_KEY_VALUE_PAIR_KEY_WORKSPACE_ID_NULL_USER_ID_UNIQUE";
    DROP INDEX core."IDX_KEY_VALUE_PAIR_KEY_USER_ID_NULL_WORKSPACE_ID_UNIQUE";
  END IF;
END $$;
CREATE UNIQUE INDEX IF NOT EXISTS "IDX_KEY_VALUE_PAIR_KEY_USER_ID_WORKSPACE_ID_UNIQUE"
  ON core."keyValuePair" (key, "userId", "workspaceId") WHERE "applicationId" IS NULL;
CREATE UNIQUE INDEX IF NOT EXISTS "IDX_KEY_VALUE_PAIR_KEY_WORKSPACE_ID_NULL_USER_ID_UNIQUE"
  ON core."keyValuePair" (key, "workspaceId") WHERE "userId" IS NULL AND "applicationId" IS NULL;
CREATE UNIQUE INDEX IF NOT EXISTS "IDX_KEY_VALUE_PAIR_KEY_USER_ID_NULL_WORKSPACE_ID_UNIQUE"
  ON core."keyValuePair" (key, "userId") WHERE "workspaceId" IS NULL AND "applicationId" IS NULL;

CREATE TABLE IF NOT EXISTS core."userSession" (
  id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  "tokenHash" varchar NOT NULL UNIQUE,
  "userId" uuid NOT NULL REFERENCES core."user" (id) ON DELETE CASCADE,
  "workspaceId" uuid REFERENCES core."workspace" (id) ON DELETE CASCADE,
  "userWorkspaceId" uuid REFERENCES core."userWorkspace" (id) ON DELETE CASCADE,
  "authProvider" varchar NOT NULL,
  "isImpersonating" boolean NOT NULL DEFAULT false,
  "impersonatorUserWorkspaceId" uuid,
  "impersonatedUserWorkspaceId" uuid,
  "userAgent" varchar,
  "ipAddress" varchar,
  "expiresAt" timestamptz NOT NULL,
  "lastActiveAt" timestamptz NOT NULL DEFAULT now(),
  "revokedAt" timestamptz,
  "revokedReason" varchar,
  "createdAt" timestamptz NOT NULL DEFAULT now()
);

-- As the real one does: where the extension, or room for it, is lacking, e-mails stay as they were.
DO $$ BEGIN
  CREATE EXTENSION IF NOT EXISTS citext;
  ALTER TABLE core."user" ALTER COLUMN email TYPE citext;
EXCEPTION WHEN undefined_file OR feature_not_supported OR insufficient_privilege OR unique_violation THEN
  RAISE WARNING 'core."user".email stays varchar: %', SQLERRM;
END $$;
