//! Captions and subtitles: which there are, which one is shown, and the lines on the picture.
//!
//! hls.js reads them, out of the pictures (CEA-608) or from WebVTT playlists; it shows none by itself, see `hlsjs`.

import Hls, { Events, type MediaPlaylist } from "hls.js";
import { byId } from "../shared/dom";

export interface Text {
  id: string;
  label: string;
  kind: string;
  /** Its number among the subtitles of hls.js; -1: it is in the pictures. */
  subtitle: number;
  cues: VTTCue[];
}

/** Of one track, in memory. Some lines a minute make it hours; the oldest goes. */
const MOST_CUES = 5_000;

export class Captions {
  onchange: () => void = () => {};
  /** What is asked for, by its label; it is shown as soon as there is such a one. */
  private wanted: string | null = null;
  private last: string | null = null;
  private hls: Hls | null = null;
  private texts: Text[] = [];
  private shown = "";
  private readonly layer = byId("captions");

  constructor(private readonly video: HTMLVideoElement) {
    // Often enough for lips; nothing is drawn anew unless it differs.
    window.setInterval(() => this.draw(), 100);
  }

  /** Another hls.js: it tells anew what there is. */
  follow(hls: Hls): void {
    this.hls = hls;
    this.texts = [];
    hls.on(Events.NON_NATIVE_TEXT_TRACKS_FOUND, (_, { tracks }) => {
      for (const { _id, label, kind, subtitleTrack } of tracks) {
        const number = subtitleTrack ? hls.subtitleTracks.indexOf(subtitleTrack) : -1;
        this.found(_id ?? name(subtitleTrack), label, kind, number);
      }
    });
    hls.on(Events.CUES_PARSED, (_, data: { cues: VTTCue[]; track: string; subtitleTrack?: MediaPlaylist }) => {
      const id = data.subtitleTrack ? name(data.subtitleTrack) : data.track;
      const text = this.texts.find((one) => one.id === id);
      if (text) add(text.cues, data.cues);
    });
    this.onchange();
  }

  get all(): readonly Text[] {
    return this.texts;
  }

  /** The one that is shown. */
  get chosen(): Text | null {
    return this.texts.find((text) => text.label === this.wanted) ?? null;
  }

  choose(label: string | null): void {
    this.last = label ?? this.wanted ?? this.last;
    this.wanted = label;
    this.load();
    this.draw();
    this.onchange();
  }

  /** Off, or on again in what was chosen last. Whether there is anything to show. */
  toggle(): boolean {
    if (this.chosen) this.choose(null);
    else this.choose((this.texts.find((text) => text.label === this.last) ?? this.texts[0])?.label ?? null);
    return this.texts.length > 0;
  }

  private found(id: string, label: string, kind: string, subtitle: number): void {
    if (this.texts.some((text) => text.id === id)) return;
    // Two may be called alike; a viewer has to tell them apart.
    const alike = this.texts.filter((text) => text.label === label || text.label.startsWith(`${label} (`)).length;
    this.texts.push({ id, label: alike === 0 ? label : `${label} (${alike + 1})`, kind, subtitle, cues: [] });
    this.load();
    this.onchange();
  }

  /** Subtitles are fetched only while they are shown. */
  private load(): void {
    const subtitle = this.chosen?.subtitle ?? -1;
    if (this.hls && this.hls.subtitleTrack !== subtitle) this.hls.subtitleTrack = subtitle;
  }

  private draw(): void {
    const now = this.video.currentTime;
    const cues = this.chosen?.cues.filter((cue) => cue.startTime <= now && now < cue.endTime) ?? [];
    const shown = cues.map((cue) => `${cue.startTime} ${cue.text}`).join("\n");
    if (shown === this.shown) return;
    this.shown = shown;
    this.layer.hidden = cues.length === 0;
    this.layer.replaceChildren(
      ...cues.map((cue) => {
        const line = document.createElement("p");
        // As a tree of its own making, never as HTML of the stream's.
        line.append(cue.getCueAsHTML());
        return line;
      }),
    );
  }
}

function name(track: MediaPlaylist | undefined): string {
  return track ? `subtitles ${track.groupId} ${track.id}` : "";
}

/** Cues come again with a segment that is loaded again. */
function add(known: VTTCue[], more: readonly VTTCue[]): void {
  for (const cue of more) {
    const same = (one: VTTCue) => Math.abs(one.startTime - cue.startTime) < 0.05 && one.text === cue.text;
    const before = known.slice(-50).reverse().find(same);
    // One whose end was not known when it was told first.
    if (before) before.endTime = Math.max(before.endTime, cue.endTime);
    else known.push(cue);
  }
  if (known.length > MOST_CUES) known.splice(0, known.length - MOST_CUES);
}
