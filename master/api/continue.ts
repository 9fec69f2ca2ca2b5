import { badRequest, StatusError, type Status } from '../../shared/status.ts';

/** Where a paged list goes on. */
export interface ContinueToken {
  /** Revision of the list's first page; -1: the newest state, the rest of a list whose revision is gone. */
  readonly revision: number;
  /** Key of the last object shown, without the list's prefix. */
  readonly after: string;
}

const version = 'meta.k8s.io/v1';

/** The opaque form, laid out as the apiserver's: base64 of `{"v":…,"rv":…,"start":…}`. */
export function encodeContinue({ revision, after }: ContinueToken): string {
  return Buffer.from(JSON.stringify({ v: version, rv: revision, start: `${after}\0` })).toString('base64url');
}

/** @throws StatusError 400 */
export function decodeContinue(token: string): ContinueToken {
  const { v, rv, start } = parseToken(token);
  if (v !== version) throw bad(`server does not recognize this encoded version ${JSON.stringify(v ?? '')}`);
  if (typeof rv !== 'number' || !Number.isSafeInteger(rv) || rv === 0) throw bad(`incorrect encoded start resourceVersion (version ${version})`);
  if (typeof start !== 'string' || start === '') throw bad(`encoded start key empty (version ${version})`);
  return { revision: rv, after: start.endsWith('\0') ? start.slice(0, -1) : start };
}

const bad = (why: string): StatusError => badRequest(`invalid continue token: continue key is not valid: ${why}`);

function parseToken(token: string): { v?: unknown; rv?: unknown; start?: unknown } {
  if (!/^[A-Za-z0-9_-]+=*$/.test(token)) throw bad('illegal base64 data at input byte 0');
  try {
    const value = JSON.parse(Buffer.from(token, 'base64url').toString()) as unknown;
    if (typeof value === 'object' && value !== null) return value;
  } catch {
    // Falls through to the same answer as for other values.
  }
  throw bad('invalid character in token');
}

/** 410 of a page whose revision is gone, with a token for the rest of the list as it is now. */
export class ContinueExpired extends StatusError {
  readonly #token: string;

  constructor(after: string) {
    super(410, 'Expired', 'The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter, or use the continue token in this response to retrieve the remainder of the results. Continuing with the provided token results in an inconsistent list - objects that were created, modified, or deleted between the time the first chunk was returned and now may show up in the list.');
    this.#token = encodeContinue({ revision: -1, after });
  }

  override toStatus(): Status {
    return { ...super.toStatus(), metadata: { continue: this.#token } };
  }
}
