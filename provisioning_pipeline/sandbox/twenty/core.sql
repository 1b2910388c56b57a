-- Twenty's schema `core`, as far as this project reads it: names, quoting and unique indexes of 2.21.0.
-- Safe to run again, and safe on a database that already has some of it.

CREATE SCHEMA IF NOT EXISTS core;

DO $$ BEGIN
  CREATE TYPE core."workspace_activationStatus_enum" AS ENUM
    ('ONGOING_CREATION', 'PENDING_CREATION', 'ACTIVE', 'INACTIVE', 'SUSPENDED');
EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$;

DO $$ BEGIN
  CREATE TYPE core."keyValuePair_type_enum" AS ENUM ('USER_VARIABLE', 'FEATURE_FLAG', 'CONFIG_VARIABLE');
EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$;

CREATE TABLE IF NOT EXISTS core."workspace" (
  id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  "displayName" varchar,
  logo varchar,
  "inviteHash" varchar,
  subdomain varchar NOT NULL UNIQUE,
  "customDomain" varchar UNIQUE,
  "activationStatus" core."workspace_activationStatus_enum" NOT NULL DEFAULT 'INACTIVE',
  "databaseSchema" varchar,
  "defaultRoleId" uuid,
  "metadataVersion" integer NOT NULL DEFAULT 1,
  "allowImpersonation" boolean NOT NULL DEFAULT true,
  "isPublicInviteLinkEnabled" boolean NOT NULL DEFAULT true,
  "isPasswordAuthEnabled" boolean NOT NULL DEFAULT true,
  "isPasswordAuthBypassEnabled" boolean NOT NULL DEFAULT false,
  "isGoogleAuthEnabled" boolean NOT NULL DEFAULT true,
  "isMicrosoftAuthEnabled" boolean NOT NULL DEFAULT true,
  "isTwoFactorAuthenticationEnforced" boolean NOT NULL DEFAULT false,
  "isCustomDomainEnabled" boolean NOT NULL DEFAULT false,
  "editableProfileFields" varchar[] DEFAULT '{email,profilePicture,firstName,lastName}',
  "suspendedAt" timestamptz,
  "createdAt" timestamptz NOT NULL DEFAULT now(),
  "updatedAt" timestamptz NOT NULL DEFAULT now(),
  "deletedAt" timestamptz
);
CREATE INDEX IF NOT EXISTS "IDX_WORKSPACE_ACTIVATION_STATUS" ON core."workspace" ("activationStatus");

CREATE TABLE IF NOT EXISTS core."user" (
  id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  email varchar NOT NULL,
  "firstName" varchar NOT NULL DEFAULT '',
  "lastName" varchar NOT NULL DEFAULT '',
  "isEmailVerified" boolean NOT NULL DEFAULT false,
  disabled boolean NOT NULL DEFAULT false,
  "passwordHash" varchar,
  "canImpersonate" boolean NOT NULL DEFAULT false,
  "canAccessFullAdminPanel" boolean NOT NULL DEFAULT false,
  locale varchar NOT NULL DEFAULT 'en',
  "createdAt" timestamptz NOT NULL DEFAULT now(),
  "updatedAt" timestamptz NOT NULL DEFAULT now(),
  "deletedAt" timestamptz
);
CREATE UNIQUE INDEX IF NOT EXISTS "UQ_USER_EMAIL" ON core."user" (email) WHERE "deletedAt" IS NULL;

CREATE TABLE IF NOT EXISTS core."userWorkspace" (
  id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  "userId" uuid NOT NULL REFERENCES core."user" (id) ON DELETE CASCADE,
  "workspaceId" uuid NOT NULL REFERENCES core."workspace" (id) ON DELETE CASCADE,
  locale varchar NOT NULL DEFAULT 'en',
  "createdAt" timestamptz NOT NULL DEFAULT now(),
  "updatedAt" timestamptz NOT NULL DEFAULT now(),
  "deletedAt" timestamptz
);
CREATE UNIQUE INDEX IF NOT EXISTS "IDX_USER_WORKSPACE_USER_ID_WORKSPACE_ID_UNIQUE"
  ON core."userWorkspace" ("userId", "workspaceId") WHERE "deletedAt" IS NULL;
CREATE INDEX IF NOT EXISTS "IDX_USER_WORKSPACE_WORKSPACE_ID" ON core."userWorkspace" ("workspaceId");

CREATE TABLE IF NOT EXISTS core."keyValuePair" (
  id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  "userId" uuid REFERENCES core."user" (id) ON DELETE CASCADE,
  "workspaceId" uuid REFERENCES core."workspace" (id) ON DELETE CASCADE,
  key text NOT NULL,
  value jsonb,
  "textValueDeprecated" text,
  type core."keyValuePair_type_enum" NOT NULL DEFAULT 'USER_VARIABLE',
  "createdAt" timestamptz NOT NULL DEFAULT now(),
  "updatedAt" timestamptz NOT NULL DEFAULT now(),
  "deletedAt" timestamptz
);
CREATE UNIQUE INDEX IF NOT EXISTS "IDX_KEY_VALUE_PAIR_KEY_USER_ID_WORKSPACE_ID_UNIQUE"
  ON core."keyValuePair" (key, "userId", "workspaceId");
CREATE UNIQUE INDEX IF NOT EXISTS "IDX_KEY_VALUE_PAIR_KEY_WORKSPACE_ID_NULL_USER_ID_UNIQUE"
  ON core."keyValuePair" (key, "workspaceId") WHERE "userId" IS NULL;
CREATE UNIQUE INDEX IF NOT EXISTS "IDX_KEY_VALUE_PAIR_KEY_USER_ID_NULL_WORKSPACE_ID_UNIQUE"
  ON core."keyValuePair" (key, "userId") WHERE "workspaceId" IS NULL;

CREATE TABLE IF NOT EXISTS core."role" (
  id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  "universalIdentifier" uuid DEFAULT gen_random_uuid(),
  label varchar NOT NULL,
  description text,
  icon varchar,
  "workspaceId" uuid NOT NULL,
  "isEditable" boolean NOT NULL DEFAULT true,
  "canUpdateAllSettings" boolean NOT NULL DEFAULT false,
  "canAccessAllTools" boolean NOT NULL DEFAULT false,
  "canReadAllObjectRecords" boolean NOT NULL DEFAULT false,
  "canUpdateAllObjectRecords" boolean NOT NULL DEFAULT false,
  "canSoftDeleteAllObjectRecords" boolean NOT NULL DEFAULT false,
  "canDestroyAllObjectRecords" boolean NOT NULL DEFAULT false,
  "canBeAssignedToUsers" boolean NOT NULL DEFAULT true,
  "canBeAssignedToAgents" boolean NOT NULL DEFAULT true,
  "canBeAssignedToApiKeys" boolean NOT NULL DEFAULT true,
  "createdAt" timestamptz NOT NULL DEFAULT now(),
  "updatedAt" timestamptz NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX IF NOT EXISTS "IDX_ROLE_LABEL_WORKSPACE_ID_UNIQUE" ON core."role" (label, "workspaceId");

CREATE TABLE IF NOT EXISTS core."roleTarget" (
  id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  "workspaceId" uuid NOT NULL,
  "roleId" uuid NOT NULL REFERENCES core."role" (id) ON DELETE CASCADE,
  "userWorkspaceId" uuid,
  "apiKeyId" uuid,
  "agentId" uuid,
  "createdAt" timestamptz NOT NULL DEFAULT now(),
  "updatedAt" timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX IF NOT EXISTS "IDX_ROLE_TARGET_USER_WORKSPACE_ID" ON core."roleTarget" ("userWorkspaceId");

CREATE TABLE IF NOT EXISTS core."objectMetadata" (
  id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  "workspaceId" uuid NOT NULL REFERENCES core."workspace" (id) ON DELETE CASCADE,
  "nameSingular" varchar NOT NULL,
  "isCustom" boolean NOT NULL DEFAULT false,
  "isActive" boolean NOT NULL DEFAULT true,
  "createdAt" timestamptz NOT NULL DEFAULT now(),
  "updatedAt" timestamptz NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX IF NOT EXISTS "IDX_OBJECT_METADATA_NAME_SINGULAR_WORKSPACE_ID_UNIQUE"
  ON core."objectMetadata" ("nameSingular", "workspaceId");

CREATE TABLE IF NOT EXISTS core."appToken" (
  id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  "userId" uuid REFERENCES core."user" (id) ON DELETE CASCADE,
  "workspaceId" uuid REFERENCES core."workspace" (id) ON DELETE CASCADE,
  type text NOT NULL DEFAULT 'REFRESH_TOKEN',
  value text,
  context jsonb,
  "expiresAt" timestamptz NOT NULL,
  "revokedAt" timestamptz,
  "deletedAt" timestamptz,
  "createdAt" timestamptz NOT NULL DEFAULT now(),
  "updatedAt" timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX IF NOT EXISTS "IDX_APP_TOKEN_WORKSPACE_ID_TYPE" ON core."appToken" ("workspaceId", type);

CREATE TABLE IF NOT EXISTS core."apiKey" (
  id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  name varchar NOT NULL,
  "expiresAt" timestamptz NOT NULL,
  "revokedAt" timestamptz,
  "workspaceId" uuid NOT NULL REFERENCES core."workspace" (id) ON DELETE CASCADE,
  "createdAt" timestamptz NOT NULL DEFAULT now(),
  "updatedAt" timestamptz NOT NULL DEFAULT now()
);
