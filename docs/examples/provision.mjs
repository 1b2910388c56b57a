#!/usr/bin/env node
// Registers a tenant, waits until it is ready, and prints its workspace, its admin's user and its address.
//
//   node provision.mjs SLUG DATABASE_NAME [CLERK_ORG_ID [ADMIN_EMAIL]]
//
// PROVISIONING_API_URL and PROVISIONING_API_KEY must be set. Each argument may be a variable of its name instead; also
// NAME (else the slug) and TIMEOUT_SECONDS (else 300). Needs Node 18 or newer, and no package.
import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";

const environment = process.env;
const [slug = environment.SLUG, databaseName = environment.DATABASE_NAME, ...more] = process.argv.slice(2);
const [clerkOrgId = environment.CLERK_ORG_ID, adminEmail = environment.ADMIN_EMAIL] = more;
const { PROVISIONING_API_URL: base, PROVISIONING_API_KEY: key, NAME: name = slug } = environment;

// Sends a request, up to four times where the connection fails or the server says 429 or 503. Gives the status, the
// tenant and the seconds to wait; throws what the server says against it.
async function ask(method, url, body) {
  const headers = { Authorization: `Bearer ${key}` };
  // one key for one request, however often it is sent
  if (body) Object.assign(headers, { "Content-Type": "application/json", "Idempotency-Key": randomUUID() });

  for (let tries = 1; ; tries += 1) {
    const request = { method, headers, body: body && JSON.stringify(body), redirect: "manual" };
    const { answer, text, error } = await fetch(url, { ...request, signal: AbortSignal.timeout(60_000) })
      .then(async (answer) => ({ answer, text: await answer.text() }))
      .catch((error) => ({ error }));
    const pause = retryAfter(answer, tries);
    const last = tries === 4 || pause > 60;
    if (error && last) throw new Error(`No answer from ${url}: ${error.cause?.message ?? error.message}`);
    if (answer && (last || ![429, 503].includes(answer.status))) return read(answer, text);
    await sleep(1000 * pause);
  }
}

function read(answer, text) {
  let document = null;
  try {
    document = JSON.parse(text);
  } catch {
    // told below, as anything else that is not the server's
  }
  if (answer.ok && document?.state) return { status: answer.status, tenant: document, pause: retryAfter(answer, 2) };
  const fields = (document?.errors ?? []).map(({ field, message }) => `${field}: ${message}`);
  const said = document?.detail ?? "what answered is not the provisioning server";
  throw new Error([`HTTP ${answer.status}:`, said, ...fields].join(" "));
}

function retryAfter(answer, otherwise) {
  return Number(answer?.headers.get("Retry-After") ?? otherwise);
}

async function provision() {
  if (!base || !key) throw new Error("Set PROVISIONING_API_URL and PROVISIONING_API_KEY.");
  if (!slug || !databaseName) throw new Error("Give SLUG and DATABASE_NAME, as arguments or variables.");

  const stated = { name, database_name: databaseName, clerk_org_id: clerkOrgId, admin_email: adminEmail };
  const url = `${base.replace(/\/+$/, "")}/v1/tenants/${encodeURIComponent(slug)}`;
  let { status, tenant, pause } = await ask("PUT", url, stated);

  // 202: it is being made ready. The status URL tells how far it is.
  const end = Date.now() + 1000 * Number(environment.TIMEOUT_SECONDS ?? 300);
  while (status === 202 || tenant.state !== "ready" || tenant.waiting) {
    if (tenant.state === "aside" || Date.now() >= end) {
      const unmet = tenant.conditions.filter((condition) => condition.status !== "True");
      const reasons = unmet.map(({ type, message }) => `${type}: ${message}`);
      throw new Error([`${slug} is ${tenant.state}:`, ...reasons].join("\n"));
    }
    await sleep(1000 * pause);
    ({ status, tenant, pause } = await ask("GET", tenant.status_url));
  }
  return tenant;
}

try {
  const tenant = await provision();
  for (const fact of ["workspace_id", "user_id", "workspace_url"]) console.log(fact, tenant[fact]);
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
}
