//! Keeps one stream playing: hls.js over the <video>, its errors, and the way back after them.
//!
//! It decides when and where to connect again, live or in the past. What the viewer is told of it is `overlay`'s
//! business.

import Hls, { ErrorTypes, Events, type ErrorData, type LevelDetails, type MediaPlaylist } from "hls.js";
import { config, headers, joining, type Wish } from "./hlsjs";
import type { Telemetry } from "./telemetry";
import { explain, record, refused } from "./words";

export type State =
  | { name: "idle" }
  | { name: "connecting"; after: string | null }
  | { name: "playing" }
  | { name: "blocked" }
  | { name: "ended" }
  | { name: "unable"; title: string; why: string }
  | { name: "retrying"; why: string; at: number; rejoin: boolean };

/** What the playlist spans, in the time of the <video>. */
export interface Listed {
  start: number;
  edge: number;
  live: boolean;
}

/** Who is to hear of things. Each is called often; none may throw. */
interface Watchers {
  /** The state, or what there is to choose from. */
  change(): void;
  /** Another hls.js takes over: what was made of the one before is gone. */
  connect(hls: Hls): void;
  /** The picture is about to be taken away on purpose. */
  hold(): void;
}

export class Playback {
  state: State = { name: "idle" };
  wish: Wish = { low: null, start: null };
  watchers: Watchers = { change() {}, connect() {}, hold() {} };
  listed: Listed | null = null;

  private hls: Hls | null = null;
  private url = "";
  private join: string | null = null;
  private failures = 0;
  private playingSince = 0;
  private mediaRepairedAt = -Infinity;
  private timer: number | undefined;
  private sound: MediaPlaylist | null = null;

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
  open(url: string, join: string | null, wish: Wish): void {
    this.url = url;
    this.join = join;
    this.wish = wish;
    this.failures = 0;
    this.sound = null;
    this.telemetry.restarted();
    this.connect(url);
  }

  /** Nothing is played any more. */
  stop(): void {
    this.disconnect();
    this.enter({ name: "idle" });
  }

  /** The same stream, given otherwise. */
  rejoin(wish: Partial<Wish>): void {
    this.wish = { ...this.wish, ...wish };
    this.watchers.hold();
    this.telemetry.rejoined();
    this.connect(this.source());
  }

  /** Tries again now, without waiting out the back-off; what has ended is watched from its beginning. */
  retryNow(): void {
    if (this.state.name === "ended") this.wish = { ...this.wish, start: null };
    if (this.state.name === "retrying" || this.state.name === "unable" || this.state.name === "ended") {
      this.connect(this.source());
    }
  }

  /** Whether this is the list of all there is, where one can go to and fro. */
  get long(): boolean {
    return this.wish.start !== null || this.listed?.live === false;
  }

  /** Whether parts are being played, so that the picture is as young as it can be. */
  get byParts(): boolean {
    return (this.hls?.latestLevelDetails?.partList?.length ?? 0) > 0;
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

  /** The tracks of sound to choose from, and which it is. */
  get sounds(): { all: readonly MediaPlaylist[]; chosen: number } {
    return { all: this.hls?.audioTracks ?? [], chosen: this.hls?.audioTrack ?? -1 };
  }

  hear(track: number): void {
    if (!this.hls) return;
    this.sound = this.hls.audioTracks[track] ?? null;
    this.hls.audioTrack = track;
    this.watchers.change();
  }

  goLive(): void {
    if (this.wish.start !== null) {
      this.rejoin({ start: null });
      return;
    }
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
    this.disconnect();
    const after = this.state.name === "retrying" && this.failures > 0 ? this.state.why : null;
    this.enter({ name: "connecting", after });
    const to = joining(source, this.wish);
    if (Hls.isSupported()) this.connectHls(to);
    else if (this.video.canPlayType("application/vnd.apple.mpegurl")) this.video.src = to;
    else this.enter({ name: "unable", title: "This browser cannot play the stream", why: "It knows neither HLS nor media extensions." });
  }

  private disconnect(): void {
    window.clearTimeout(this.timer);
    this.hls?.destroy();
    this.hls = null;
    this.listed = null;
  }

  private connectHls(source: string): void {
    const preferred = this.sound ? { audioPreference: { name: this.sound.name, ...(this.sound.lang ? { lang: this.sound.lang } : {}) } } : {};
    const hls = new Hls({ ...config(this.wish), ...preferred });
    this.hls = hls;
    hls.on(Events.FRAG_LOADED, (_, { frag, networkDetails }) => {
      if (frag.type === "main" && typeof frag.sn === "number") {
        this.telemetry.received(frag.sn, headers(networkDetails));
      }
    });
    hls.on(Events.FRAG_CHANGED, (_, { frag }) => {
      if (typeof frag.sn === "number") this.telemetry.onScreen(frag.sn);
    });
    hls.on(Events.LEVEL_UPDATED, (_, { details }) => this.spans(details));
    for (const event of [Events.AUDIO_TRACKS_UPDATED, Events.AUDIO_TRACK_SWITCHED] as const) {
      hls.on(event, () => this.watchers.change());
    }
    hls.on(Events.MANIFEST_PARSED, () => void this.play());
    hls.on(Events.ERROR, (_, data) => this.failed(hls, data));
    this.watchers.connect(hls);
    hls.loadSource(source);
    hls.attachMedia(this.video);
  }

  private spans({ fragmentStart, edge, live }: LevelDetails): void {
    this.listed = { start: fragmentStart, edge, live };
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
    const refusal = refused(data);
    // To ask again with the same token would change nothing.
    if (refusal) this.enter({ name: "unable", ...refusal });
    else this.retry(explain(data));
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
      this.keepPlace();
      this.connect(this.source());
    }, delay);
  }

  /** Who was somewhere in the past is to be there again. */
  private keepPlace(): void {
    if (!this.long || !this.listed) return;
    const back = this.listed.edge - this.video.currentTime;
    this.wish = { ...this.wish, start: `-${Math.max(0, Math.round(back))}` };
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
    if (state.name === "playing" && (this.state.name === "retrying" || this.state.name === "unable")) return;
    if (state.name === "playing" && this.state.name !== "playing") this.playingSince = performance.now();
    this.state = state;
    this.watchers.change();
  }
}
