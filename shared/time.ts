const rfc3339 = /^\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])T(?:[01]\d|2[0-3]):[0-5]\d:(?:[0-5]\d|60)(?:\.\d+)?(?:Z|[+-]\d{2}:\d{2})$/;

/** True for an RFC 3339 time, with or without fractions of a second. */
export const isTime = (text: string): boolean => rfc3339.test(text);

/** `metav1.Time`: RFC 3339 in whole seconds, UTC. */
export const toTime = (ms: number): string => `${new Date(ms).toISOString().slice(0, 19)}Z`;

/** `metav1.MicroTime`: RFC 3339 with six digits of fraction, UTC. */
export const toMicroTime = (ms: number): string => `${new Date(ms).toISOString().slice(0, 23)}000Z`;

/** Milliseconds since 1970 of an RFC 3339 time; 0 for an absent or unreadable one. */
export const fromTime = (text: string | undefined): number => (text && Date.parse(text)) || 0;

/** An age as kubectl prints it (`duration.HumanDuration` of k8s.io/apimachinery): `45s`, `3m20s`, `5h`, `2d3h`, `400d`. */
export function humanDuration(ms: number): string {
  const seconds = Math.floor(ms / 1000);
  if (seconds < -1) return '<invalid>';
  if (seconds < 0) return '0s';
  if (seconds < 120) return `${seconds}s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 10) return pair(minutes, 'm', seconds % 60, 's');
  if (minutes < 180) return `${minutes}m`;
  const hours = Math.floor(minutes / 60);
  if (hours < 8) return pair(hours, 'h', minutes % 60, 'm');
  if (hours < 48) return `${hours}h`;
  const days = Math.floor(hours / 24);
  if (days < 8) return pair(days, 'd', hours % 24, 'h');
  if (days < 365 * 2) return `${days}d`;
  const years = Math.floor(days / 365);
  return years < 8 ? pair(years, 'y', days % 365, 'd') : `${years}y`;
}

const pair = (big: number, bigUnit: string, small: number, smallUnit: string): string =>
  small === 0 ? `${big}${bigUnit}` : `${big}${bigUnit}${small}${smallUnit}`;
