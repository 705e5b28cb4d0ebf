//! What went wrong, in words a viewer can use. The raw detail goes to the error log of the page.

import { ErrorDetails, ErrorTypes, type ErrorData } from "hls.js";

/** A sentence for the viewer. */
export function explain(data: ErrorData): string {
  const status = data.response?.code ?? 0;
  switch (data.details) {
    case ErrorDetails.MANIFEST_LOAD_ERROR:
      if (status === 404) return "This stream is not on air yet.";
      if (status === 503) return "This server is full right now.";
      return answered(status);
    case ErrorDetails.MANIFEST_LOAD_TIMEOUT:
    case ErrorDetails.LEVEL_LOAD_TIMEOUT:
    case ErrorDetails.FRAG_LOAD_TIMEOUT:
      return "The server takes too long to answer.";
    case ErrorDetails.MANIFEST_PARSING_ERROR:
    case ErrorDetails.LEVEL_PARSING_ERROR:
      return "The server sent a playlist this player cannot read.";
    case ErrorDetails.MANIFEST_INCOMPATIBLE_CODECS_ERROR:
    case ErrorDetails.BUFFER_ADD_CODEC_ERROR:
    case ErrorDetails.BUFFER_INCOMPATIBLE_CODECS_ERROR:
      return "This browser cannot decode the stream's codecs.";
    case ErrorDetails.BUFFER_STALLED_ERROR:
      return "The picture stopped because data came too slowly.";
  }
  if (data.type === ErrorTypes.NETWORK_ERROR) return answered(status);
  if (data.type === ErrorTypes.MEDIA_ERROR) return "The browser could not decode part of the stream.";
  return "Playback failed.";
}

/** To a viewer, a playback token is a ticket. */
export const NO_TICKET = {
  title: "You need a ticket to watch this",
  why: "The link that you came by has none, or it has run out. Ask for a new link where you got this one.",
};

/** Why one is not let in, where asking again would not help; null for all else. */
export function refused(data: ErrorData): { title: string; why: string } | null {
  const status = data.response?.code ?? 0;
  if (data.type !== ErrorTypes.NETWORK_ERROR) return null;
  if (status === 401) return NO_TICKET;
  if (status === 403) return { title: "Your ticket is for another stream", why: "Ask for a link to this one where you got yours." };
  if (status === 400 && data.details === ErrorDetails.MANIFEST_LOAD_ERROR) {
    return { title: "This link asks for something the server does not know", why: "There is a mistake in the address of this page." };
  }
  return null;
}

/** The server's one-word reason for a rung, as a sentence; an unknown one is passed on as it is. */
export function because(reason: string): string {
  return REASONS[reason] ?? reason;
}

const REASONS: Record<string, string> = {
  start: "A careful start, until the server knows your connection",
  steady: "Your connection carries this well",
  up: "Your connection carries more than before",
  down: "Your connection carries less than before, or the scene needs more",
  ceiling: "Your connection could carry more; the server is sharing what it has",
  emergency: "Your connection is very slow right now",
  fixed: "As this page's address asks for",
  absent: "What is at hand here; better is being fetched",
};

/** The name of a track; where that is but the code of a language, the language's. */
export function named(track: string): string {
  if (!/^[a-z]{2,3}(-[a-z\d]{2,8})*$/i.test(track)) return track;
  try {
    return new Intl.DisplayNames("en", { type: "language" }).of(track) ?? track;
  } catch {
    return track;
  }
}

/** A line for the log: which rule, where, with which values. */
export function record(data: ErrorData): string {
  const parts = [data.details as string];
  if (data.response?.code !== undefined) parts.push(`status ${data.response.code}`);
  const url = data.frag?.url ?? data.url ?? data.context?.url;
  if (url) parts.push(url);
  if (data.fatal) parts.push("fatal");
  return parts.join(", ");
}

function answered(status: number): string {
  if (navigator.onLine === false) return "You are offline.";
  return status > 0 ? `The server answered ${status}.` : "The connection to the server was lost.";
}
