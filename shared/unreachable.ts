import type { Pod } from './kinds/pod.ts';

/** Says what becomes of a pod when its node and the master cannot reach each other; see design/autonomy.md. */
export const unreachableAnnotation = 'wherry.io/unreachable';

/** What a pod's annotation asks for; a field that it does not speak of is undefined. */
export interface UnreachablePolicy {
  /** The node's agent ends the pod's containers when the master was silent for so long. */
  readonly stopSeconds: number | undefined;
  /** The master deletes the pod, so that its controller makes another, so long after the node was found lost; Infinity: never. */
  readonly replaceSeconds: number | undefined;
}

const word = /^(?:stay|(replace|stop)=(\d{1,9}))$/;

/** Reads `stay`, `replace=SECONDS`, `stop=SECONDS`, or `stop` and one of the others with a comma; undefined for anything else. */
export function parseUnreachable(text: string): UnreachablePolicy | undefined {
  let stopSeconds: number | undefined;
  let replaceSeconds: number | undefined;
  for (const part of text.split(',')) {
    const match = word.exec(part.trim());
    if (!match) return undefined;
    const seconds = match[1] === undefined ? Infinity : Number(match[2]);
    if ((match[1] === 'stop' ? stopSeconds : replaceSeconds) !== undefined) return undefined;
    if (match[1] === 'stop') stopSeconds = seconds;
    else replaceSeconds = seconds;
  }
  return { stopSeconds, replaceSeconds };
}

/** After how many seconds without a master a pod is to be stopped by its agent; undefined: never. */
export function stopSecondsOf(pod: Pod): number | undefined {
  const text = pod.metadata.annotations?.[unreachableAnnotation];
  return text === undefined ? undefined : parseUnreachable(text)?.stopSeconds;
}
