//! Keeps one stream playing: hls.js over the <video>, its errors, and the way back after them.
//!
//! It decides when and where to connect again. What the viewer is told of it is `view`'s business.

import Hls, { ErrorTypes, Events, type ErrorData, type HlsConfig, type LoadPolicy } from "hls.js";
import type { Telemetry } from "./telemetry";
import { explain, record } from "./words";

export type State =
  | { name: "idle" }
  | { name: "connecting"; after: string | null }
  | { name: "playing" }
  | { name: "blocked" }
  | { name: "ended" }
  | { name: "unable"; why: string }
  | { name: "retrying"; why: string; at: number; rejoin: boolean };

export class Playback {
  state: State = { name: "idle" };
  onchange: () => void = () => {};

  private hls: Hls | null = null;
  private url = "";
  private join: string | null = null;
  private failures = 0;
  private playingSince = 0;
  private mediaRepairedAt = -Infinity;
  private timer: number | undefined;

  constructor(
    private readonly video: HTMLVideoElement,
    private readonly telemetry: Telemetry,
  ) {
    video.addEventListener("playing", () => this.enter({ name: "playing" }));
    video.addEventListener("ended", () => this.enter({ name: "ended" }));
    video.addEventListener("timeupdate", () => this.healthy());
    video.addEventListener("error", () => this.nativeFailed());
  }

  /** Plays `url`; after a failure also tries `join`, where a traffic manager picks a node. */
  open(url: string, join: string | null): void {
    this.url = url;
    this.join = join;
    this.failures = 0;
    this.telemetry.restarted();
    this.connect(url);
  }

  /** Tries again now, without waiting out the back-off. */
  retryNow(): void {
    if (this.state.name === "retrying" || this.state.name === "unable" || this.state.name === "ended") {
      this.connect(this.source());
    }
  }

  /** Seconds behind the live edge, or null where the player does not know. */
  get latency(): number | null {
    const known = this.hls?.latency;
    return known !== undefined && known > 0 ? known : null;
  }

  /** Seconds since what is on screen was live, by the clocks of both ends; null where the playlist has no dates. */
  get age(): number | null {
    const date = this.hls?.playingDate;
    return date ? (Date.now() - date.getTime()) / 1_000 : null;
  }

  /** Seconds behind where the player means to be; null unless it is live. */
  get behind(): number | null {
    const edge = this.hls?.liveSyncPosition;
    return edge ? edge - this.video.currentTime : null;
  }

  goLive(): void {
    const edge = this.hls?.liveSyncPosition;
    if (edge) this.video.currentTime = edge;
    void this.play();
  }

  async play(): Promise<void> {
    try {
      await this.video.play();
    } catch (error) {
      if ((error as DOMException).name === "NotAllowedError") this.enter({ name: "blocked" });
    }
  }

  private connect(source: string): void {
    window.clearTimeout(this.timer);
    this.hls?.destroy();
    this.hls = null;
    const after = this.state.name === "retrying" && this.failures > 0 ? this.state.why : null;
    this.enter({ name: "connecting", after });
    if (Hls.isSupported()) this.connectHls(source);
    else if (this.video.canPlayType("application/vnd.apple.mpegurl")) this.video.src = source;
    else this.enter({ name: "unable", why: "This browser can play neither HLS nor media extensions." });
  }

  private connectHls(source: string): void {
    const hls = new Hls(config());
    this.hls = hls;
    hls.on(Events.FRAG_LOADED, (_, { frag, networkDetails }) => {
      if (frag.type === "main" && typeof frag.sn === "number") {
        this.telemetry.received(frag.sn, headers(networkDetails));
      }
    });
    hls.on(Events.FRAG_CHANGED, (_, { frag }) => {
      if (typeof frag.sn === "number") this.telemetry.onScreen(frag.sn);
    });
    hls.on(Events.MANIFEST_PARSED, () => void this.play());
    hls.on(Events.ERROR, (_, data) => this.failed(hls, data));
    hls.loadSource(promising(source));
    hls.attachMedia(this.video);
  }

  private failed(hls: Hls, data: ErrorData): void {
    if (hls !== this.hls) return;
    this.telemetry.failed(record(data));
    if (!data.fatal || this.state.name === "retrying") return;
    if (data.type === ErrorTypes.MEDIA_ERROR && performance.now() - this.mediaRepairedAt > 5_000) {
      this.mediaRepairedAt = performance.now();
      this.telemetry.interrupted();
      hls.recoverMediaError();
      void this.play();
      return;
    }
    this.retry(explain(data));
  }

  private nativeFailed(): void {
    if (this.hls || !this.video.error) return;
    this.telemetry.failed(`video error ${this.video.error.code}: ${this.video.error.message}`);
    this.retry("The browser could not go on with the stream.");
  }

  /** Half a second, doubling to at most 8 s, +-20 % so that a crowd does not return as one. */
  private retry(why: string): void {
    this.failures += 1;
    const plain = Math.min(8_000, 500 * 2 ** (this.failures - 1));
    const delay = plain * (0.8 + 0.4 * Math.random());
    const rejoin = this.source() === this.join;
    this.enter({ name: "retrying", why, at: Date.now() + delay, rejoin });
    this.timer = window.setTimeout(() => {
      // What is buffered plays on until here; from here the picture is ours to bring back.
      this.telemetry.interrupted();
      this.connect(this.source());
    }, delay);
  }

  /** Odd failures ask the traffic manager for a node, even ones this node: either may be gone. */
  private source(): string {
    return this.join !== null && this.failures % 2 === 1 ? this.join : this.url;
  }

  private healthy(): void {
    // Ten seconds of picture, not the first frame: else a node that fails after each segment
    // would be asked twice a second for ever. Not while retrying: that is only the buffer.
    if (this.state.name === "playing" && performance.now() - this.playingSince > 10_000) this.failures = 0;
  }

  private enter(state: State): void {
    // The buffer may run on, or run dry and resume, while a retry waits: that is no recovery.
    if (state.name === "playing" && this.state.name === "retrying") return;
    if (state.name === "playing" && this.state.name !== "playing") this.playingSince = performance.now();
    this.state = state;
    this.onchange();
  }
}

/** How soon a segment is asked for again; the server reckons with a second unless it is told. */
const ASKS_AGAIN_MS = 100;

/** `source`, joined as one who asks again so soon, honours content steering, and may have been there before. */
function promising(source: string): string {
  const url = new URL(source, location.href);
  url.searchParams.set("again", String(ASKS_AGAIN_MS / 1_000));
  url.searchParams.set("steering", "1");
  if (!url.searchParams.has("session")) url.searchParams.set("session", session());
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

function config(): Partial<HlsConfig> {
  const defaults = Hls.DefaultConfig;
  return {
    // The server decides the rung; these tell it what only the player knows. Query, not headers:
    // a header would cost a preflight for each segment once a viewer is moved to another host.
    cmcd: { useHeaders: false, includeKeys: ["bl", "bs", "mtp", "sid", "su"] },
    // A start and every late picture leave it further behind live; without this it stays there.
    // A tenth faster is hardly heard, for the pitch is kept.
    maxLiveSyncPlaybackRate: 1.1,
    playlistLoadPolicy: patient(defaults.playlistLoadPolicy, 4, 500),
    // The server breaks off what would come too late, and has something else for who asks again.
    fragLoadPolicy: patient(defaults.fragLoadPolicy, 7, ASKS_AGAIN_MS),
  };
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
function headers(details: unknown): (name: string) => string | null {
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
