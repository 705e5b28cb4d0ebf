//! What this node has on air, from `GET /live`. Which stream to play is the caller's choice.

export interface Listed {
  name: string;
  url: string;
}

export interface Listing {
  node: string;
  streams: Listed[];
}

/** Reads the listing; throws with words fit for the viewer when the node does not answer well. */
export async function listStreams(
  page: URLSearchParams,
  signal?: AbortSignal,
): Promise<Listing> {
  const token = page.get("token");
  const list = token === null ? "/live" : `/live?${new URLSearchParams({ token })}`;
  let reply: Response;
  try {
    reply = await fetch(list, { cache: "no-store", ...(signal ? { signal } : {}) });
  } catch {
    throw new Error("This node does not answer.");
  }
  if (reply.status === 401) {
    throw new Error("This node asks for a token: open the page with ?token= and yours.");
  }
  if (!reply.ok) throw new Error(`This node answered ${reply.status} when asked what is on air.`);
  return asListing(await reply.json().catch(() => null));
}

function asListing(value: unknown): Listing {
  const raw = (value ?? {}) as { node?: unknown; streams?: unknown };
  const streams = Array.isArray(raw.streams) ? raw.streams : [];
  return {
    node: typeof raw.node === "string" ? raw.node : "",
    streams: streams.filter(
      (s): s is Listed => typeof s?.name === "string" && typeof s?.url === "string",
    ),
  };
}

/** What the viewer may ask of the server in the page's URL, handed on to the stream's URL. */
const WISHES = ["max", "rung", "switch", "choose", "format", "latency", "start", "abr", "region", "token"];

/** The URL to play: the stream's own, with the wishes of the page's query. */
export function playUrl(stream: string, page: URLSearchParams, base: string): string {
  const url = new URL(stream, base);
  for (const wish of WISHES) {
    const value = page.get(wish);
    if (value !== null) url.searchParams.set(wish, value);
  }
  return url.href;
}

/** A recent picture of the stream, for as long as it does not play. */
export function posterUrl(stream: string, page: URLSearchParams, base: string): string {
  const url = new URL("poster.jpg?width=1280", new URL(stream, base));
  const token = page.get("token");
  if (token !== null) url.searchParams.set("token", token);
  return url.href;
}

/** The traffic manager's join URL from `?join=`, if it is one a player may follow. */
export function joinUrl(page: URLSearchParams, base: string): string | null {
  const raw = page.get("join");
  if (!raw) return null;
  try {
    const url = new URL(raw, base);
    return url.protocol === "http:" || url.protocol === "https:" ? url.href : null;
  } catch {
    return null;
  }
}
