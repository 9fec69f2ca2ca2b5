import { readFileSync } from 'node:fs';

/** Descriptors that stay free for clients of the API, watches, the store and files. */
const reserved = 1024;
const unknownLimit = 65_536;

/** How many agents can be connected: as many as the system lets this process have descriptors, less some for all else. */
export function maxAgents(): number {
  const limit = /^Max open files\s+(\d+)/m.exec(readLimits())?.[1];
  return Math.max(reserved, Number(limit ?? unknownLimit) - reserved);
}

function readLimits(): string {
  try {
    return readFileSync('/proc/self/limits', 'utf8');
  } catch {
    return '';
  }
}
