//! Who sits before the page: a token, for as long as the tab is open, and what may be said and asked with it.

import type { Decision } from "./overview";
import { asDecision, list, number } from "./overview";

const KEY = "operator";

export type Override =
  | { drain: { node: string } }
  | { undrain: { node: string } }
  | { weigh: { node: string; weight: number } }
  | { pin: { region: string; pin: { relays?: number; node?: string } } }
  | { unpin: { region: string } };

/** What would be otherwise. */
export interface Premise {
  overrides?: Override[];
  viewers?: Record<string, number>;
}

export interface Foreseen {
  after_ms: number;
  decision: Decision;
}

/** An answer that is no success, in the manager's own words. */
export class Refusal extends Error {
  constructor(
    readonly status: number,
    told: string,
  ) {
    super(told);
  }
}

export function isSignedIn(): boolean {
  return sessionStorage.getItem(KEY) !== null;
}

export function signOut(): void {
  sessionStorage.removeItem(KEY);
}

/** Throws if the manager does not know the token. */
export async function signIn(token: string): Promise<void> {
  sessionStorage.setItem(KEY, token.trim());
  try {
    await call("GET", "/v1/operator");
  } catch (error) {
    signOut();
    throw error;
  }
}

export async function obey(wanted: Override): Promise<void> {
  if ("drain" in wanted) await call("POST", `${at("nodes", wanted.drain.node)}/drain`);
  else if ("undrain" in wanted) await call("DELETE", `${at("nodes", wanted.undrain.node)}/drain`);
  else if ("weigh" in wanted) await call("PUT", `${at("nodes", wanted.weigh.node)}/weight`, { weight: wanted.weigh.weight });
  else if ("pin" in wanted) await call("PUT", `${at("regions", wanted.pin.region)}/pin`, wanted.pin.pin);
  else await call("DELETE", `${at("regions", wanted.unpin.region)}/pin`);
}

/** What the manager would decide within a minute. Nothing is done. */
export async function foresee(premise: Premise): Promise<Foreseen[]> {
  const told = (await call("POST", "/v1/foresight", premise)) as Record<string, unknown>;
  return list(told["foreseen"]).map((one) => ({
    after_ms: number(one["after_ms"]) ?? 0,
    decision: asDecision(one["decision"]),
  }));
}

/** What nodes say of a viewer; takes until they have reported, which they do every two seconds. */
export async function lookUp(viewer: string): Promise<Record<string, unknown>> {
  return (await call("GET", at("viewers", viewer))) as Record<string, unknown>;
}

/** Some of a node's viewers. */
export async function viewersOf(node: string): Promise<Record<string, unknown>> {
  return (await call("GET", `${at("nodes", node)}/viewers`)) as Record<string, unknown>;
}

function at(kind: string, name: string): string {
  return `/v1/${kind}/${encodeURIComponent(name)}`;
}

async function call(method: string, path: string, body?: unknown): Promise<unknown> {
  const headers: Record<string, string> = { authorization: `Bearer ${sessionStorage.getItem(KEY) ?? ""}` };
  if (body !== undefined) headers["content-type"] = "application/json";
  let answer: Response;
  try {
    const sent = body === undefined ? undefined : JSON.stringify(body);
    answer = await fetch(path, { method, headers, body: sent ?? null, cache: "no-store", signal: AbortSignal.timeout(10_000) });
  } catch {
    throw new Refusal(0, "the traffic manager does not answer");
  }
  const said = (await answer.json().catch(() => ({}))) as Record<string, unknown>;
  if (answer.ok) return said;
  throw new Refusal(answer.status, typeof said["error"] === "string" ? said["error"] : `the manager answered ${answer.status}`);
}
