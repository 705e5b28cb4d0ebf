//! How hls.js is set up here, where a stream is joined with it, and what its answers said. When to connect, and to
//! what, is `playback`'s business.

import Hls, { type HlsConfig, type LoadPolicy } from "hls.js";

/** How a stream is to be given. */
export interface Wish {
  /** By parts, close to live; or by whole segments; null: as the node thinks fit. */
  low: boolean | null;
  /** Where to begin in all that can still be watched, as `?start=` says it: `-600`, `begin`, a time; null: live. */
  start: string | null;
}

/** How soon a segment is asked for again; the server reckons with a second unless it is told. */
const ASKS_AGAIN_MS = 100;

/** `source`, joined as one who asks again so soon, honours content steering, and may have been there before. */
export function joining(source: string, wish: Wish): string {
  const url = new URL(source, location.href);
  url.searchParams.set("again", String(ASKS_AGAIN_MS / 1_000));
  url.searchParams.set("steering", "1");
  if (!url.searchParams.has("session")) url.searchParams.set("session", session());
  if (wish.low !== null) url.searchParams.set("latency", wish.low ? "low" : "normal");
  if (wish.start !== null) url.searchParams.set("start", wish.start);
  return url.href;
}

/** The same as long as the tab is open, so that the traffic manager sends a page that is reloaded where it was. */
function session(): string {
  const fresh = () => Array.from(crypto.getRandomValues(new Uint8Array(8)), (b) => b.toString(16).padStart(2, "0")).join("");
  try {
    const known = sessionStorage.getItem("session") ?? fresh();
    sessionStorage.setItem("session", known);
    return known;
  } catch {
    // Storage is denied: then it is one session for each join.
    return fresh();
  }
}

export function config(wish: Wish): Partial<HlsConfig> {
  const defaults = Hls.DefaultConfig;
  const captions = partwise(defaults.timelineController);
  return {
    // The server decides the rung; these tell it what only the player knows. Query, not headers:
    // a header would cost a preflight for each segment once a viewer is moved to another host.
    cmcd: { useHeaders: false, includeKeys: ["bl", "bs", "mtp", "sid", "su"] },
    // A start and every late picture leave it further behind live; without this it stays there.
    // A tenth faster is hardly heard, for the pitch is kept. Who went back wants to be there.
    maxLiveSyncPlaybackRate: wish.start === null ? 1.1 : 1,
    lowLatencyMode: wish.low !== false && wish.start === null,
    // Of captions in the pictures it makes native tracks only where pictures and sound have a buffer each.
    renderTextTracksNatively: false,
    ...(captions ? { timelineController: captions } : {}),
    playlistLoadPolicy: patient(defaults.playlistLoadPolicy, 4, 500),
    // The server breaks off what would come too late, and has something else for who asks again.
    fragLoadPolicy: patient(defaults.fragLoadPolicy, 7, ASKS_AGAIN_MS),
  };
}

/**
 * hls.js 1.7 takes the second part of a segment for a jump, and forgets what it has read of a caption so far: one that is
 * written in one part and shown by the next is lost. Parts that follow one another are told so here.
 */
function partwise(plain: HlsConfig["timelineController"]): HlsConfig["timelineController"] {
  if (!plain) return plain;
  type Loading = { frag: { sn: unknown; cc: number; type: string }; part: { index: number } | null };
  interface Inside {
    lastSn: unknown;
    lastCc: number;
    lastPartIndex: number;
    onFragLoading?(event: string, data: Loading): void;
  }
  const Plain = plain as unknown as new (hls: Hls) => Inside;
  return class extends Plain {
    // Its constructor asks to be called by this name, though its types do not say so.
    override onFragLoading(event: string, data: Loading): void {
      const { frag, part } = data;
      const follows = part != null && part.index === this.lastPartIndex + 1;
      if (follows && frag.type === "main" && frag.sn === this.lastSn && frag.cc === this.lastCc) this.lastPartIndex = part.index;
      else super.onFragLoading?.(event, data);
    }
  } as unknown as HlsConfig["timelineController"];
}

/**
 * Retries refused connections too: hls.js takes them for CORS failures and gives up at once,
 * which would throw away a full buffer because a node restarted.
 */
function patient(policy: LoadPolicy, retries: number, retryDelayMs: number): LoadPolicy {
  return {
    default: {
      ...policy.default,
      errorRetry: {
        maxNumRetry: retries,
        retryDelayMs,
        maxRetryDelayMs: 2_000,
        backoff: "exponential",
        shouldRetry: (retry, tried, _timeout, response, usual) =>
          usual || (tried < (retry?.maxNumRetry ?? 0) && response?.code === 0),
      },
    },
  };
}

/** Reads reply headers from whatever hls.js loaded with; absent and unexposed ones are null. */
export function headers(details: unknown): (name: string) => string | null {
  if (details instanceof XMLHttpRequest) {
    // Asking for an unexposed header by name logs an error in the console; the full list does not.
    const lines = details.getAllResponseHeaders().trim().split(/\r?\n/);
    const all = new Map(
      lines.map((line) => {
        const colon = line.indexOf(":");
        return [line.slice(0, colon).trim().toLowerCase(), line.slice(colon + 1).trim()] as const;
      }),
    );
    return (name) => all.get(name.toLowerCase()) ?? null;
  }
  if (details instanceof Response) return (name) => details.headers.get(name);
  return () => null;
}
