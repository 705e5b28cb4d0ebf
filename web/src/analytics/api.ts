//! What the page asks of /v1/analytics, and the token it asks with. Nothing here touches the page.

export interface Figures {
  viewers: number;
  joins: number;
  visits: number;
  watched_s: number;
  stalls: number;
  stalled_s: number;
  stalled_share: number;
  octets: number;
}

export interface Point extends Figures {
  at: number;
  of: string;
}

export interface Series<P> {
  from: number;
  to: number;
  step: number;
  points: P[];
}

export interface RungPoint {
  at: number;
  rung: string;
  octets: number;
}

export interface Totals {
  from: number;
  to: number;
  each: (Figures & { of: string })[];
  peak_viewers: number | null;
  account: { sent: number; in_visits: number; without_seat: number; difference: number | null } | null;
}

export interface Now {
  viewers: number;
}

/** The answer was no success; `status` 401 asks for the operator's token. */
export class Refused extends Error {
  constructor(
    readonly status: number,
    why: string,
  ) {
    super(why);
  }
}

export async function ask<T>(path: string, query: Record<string, string | number> = {}): Promise<T> {
  return (await answer(path, query)).json() as Promise<T>;
}

/** Has the browser save what is exported. */
export async function save(query: Record<string, string | number>): Promise<void> {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(await (await answer("export", query)).blob());
  link.download = `spillway-${query["what"]}.${query["format"]}`;
  link.click();
  URL.revokeObjectURL(link.href);
}

export function keepToken(token: string): void {
  sessionStorage.setItem(KEY, token.trim());
}

async function answer(path: string, query: Record<string, string | number>): Promise<Response> {
  const token = sessionStorage.getItem(KEY);
  const headers: Record<string, string> = token ? { authorization: `Bearer ${token}` } : {};
  const said = new URLSearchParams(Object.entries(query).map(([name, value]) => [name, String(value)]));
  const response = await fetch(`/v1/analytics/${path}?${said}`, { headers, signal: AbortSignal.timeout(30_000) });
  if (response.ok) return response;
  const told = (await response.json().catch(() => ({}))) as { error?: string };
  throw new Refused(response.status, told.error ?? `the server answered ${response.status}`);
}

/** The same as on the operators' page, so that it is asked for once in a tab. */
const KEY = "operator";
