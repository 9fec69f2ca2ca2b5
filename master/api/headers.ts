import type { Exchange } from './exchange.ts';

/** Headers that every answer carries, as the apiserver's `WithCacheControl` sets them. */
export const commonHeaders = ['Cache-Control', 'no-cache, private'] as const;

/** Warnings of all `Warning` headers of one answer together, in characters (apiserver's limit). */
const maxWarnings = 4096;

/** Header fields of an answer, as `writeHead` takes them in a flat list. */
export function answerHeaders(x: Exchange, contentType: string): string[] {
  const headers = [...commonHeaders, 'Content-Type', contentType];
  let size = 0;
  for (const warning of x.warnings) {
    const text = warningText(warning);
    size += text.length;
    if (size > maxWarnings) break;
    headers.push('Warning', text);
  }
  return headers;
}

/** RFC 2616's warn-value without agent or date; control characters and what a header cannot hold go. */
function warningText(text: string): string {
  const clean = text.replace(/[\r\n\t]+/g, ' ').replace(/[^ -~]/g, '?');
  return `299 - "${clean.replace(/[\\"]/g, (found) => `\\${found}`)}"`;
}
