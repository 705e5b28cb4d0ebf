//! What this node has on air, from `GET /live`. Which stream to play is the caller's choice.

import type { Wish } from "./hlsjs";
import { NO_TICKET } from "./words";

export interface Listed {
  name: string;
  url: string;
  /** Not on air yet; on air; a recording. */
  state: "waiting" | "live" | "ended";
  /** Seconds that can be gone back; null where this node does not know. */
  past: number | null;
  /** There is a picture of it. */
  poster: boolean;
}

export interface Listing {
  node: string;
  streams: Listed[];
}

/** Why there is no list, in words for the viewer. */
export class Refusal extends Error {
  constructor(
    readonly title: string,
    readonly why: string,
    /** Asking again soon would change nothing. */
    readonly lasting = false,
  ) {
    super(title);
  }
}

/** Reads the listing; throws a `Refusal` when the node does not answer well. */
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
    throw new Refusal("The server does not answer", AGAIN);
  }
  if (reply.status === 401) throw new Refusal(NO_TICKET.title, NO_TICKET.why, true);
  if (!reply.ok) throw new Refusal(`The server answered ${reply.status} when asked what is on air`, AGAIN);
  return asListing(await reply.json().catch(() => null));
}

const AGAIN = "It is asked again every few seconds.";

function asListing(value: unknown): Listing {
  const raw = (value ?? {}) as { node?: unknown; streams?: unknown };
  const streams = Array.isArray(raw.streams) ? raw.streams : [];
  return {
    node: typeof raw.node === "string" ? raw.node : "",
    streams: streams.filter((s) => typeof s?.name === "string" && typeof s?.url === "string").map(asListed),
  };
}

function asListed(raw: { name: string; url: string; state?: unknown; past?: unknown; poster?: unknown }): Listed {
  const { name, url, past, poster } = raw;
  const state = raw.state === "waiting" || raw.state === "ended" ? raw.state : "live";
  return { name, url, state, past: typeof past === "number" ? past : null, poster: poster === true };
}

/** What the viewer may ask of the server in the page's URL, handed on to the stream's URL. Latency and where to begin can be changed on the page; see `Wish`. */
const WISHES = ["max", "rung", "switch", "choose", "format", "abr", "region", "token"];

/** The URL to play: the stream's own, with the wishes of the page's query. */
export function playUrl(stream: string, page: URLSearchParams, base: string): string {
  const url = new URL(stream, base);
  for (const wish of WISHES) {
    const value = page.get(wish);
    if (value !== null) url.searchParams.set(wish, value);
  }
  return url.href;
}

/** A still of the stream: a poster, or the storyboard. */
export function stillUrl(stream: string, name: string, page: URLSearchParams, base: string): string {
  const url = new URL(name, new URL(stream, base));
  const token = page.get("token");
  if (token !== null) url.searchParams.set("token", token);
  return url.href;
}

/** How the page's URL asks for the stream. */
export function wishOf(page: URLSearchParams): Wish {
  const latency = page.get("latency");
  return { low: latency === null ? null : latency === "low", start: page.get("start") };
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
