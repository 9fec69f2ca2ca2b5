/** A Kubernetes `Status` of a failed request, as it goes over the wire. */
export interface Status {
  readonly apiVersion: 'v1';
  readonly kind: 'Status';
  readonly metadata: Record<string, unknown>;
  readonly status: 'Success' | 'Failure';
  readonly message?: string;
  readonly reason?: string;
  readonly details?: StatusDetails;
  readonly code: number;
}

export interface StatusDetails {
  readonly name?: string;
  readonly group?: string;
  readonly kind?: string;
  readonly uid?: string;
  readonly causes?: readonly StatusCause[];
  readonly retryAfterSeconds?: number;
}

export interface StatusCause {
  readonly reason: string;
  readonly message: string;
  readonly field?: string;
}

/** The only error type that the API turns into an answer; anything else is a bug and becomes a 500. */
export class StatusError extends Error {
  readonly code: number;
  /** '' where Kubernetes gives none. */
  readonly reason: string;
  readonly details: StatusDetails | undefined;

  constructor(code: number, reason: string, message: string, details?: StatusDetails) {
    super(message);
    this.name = 'StatusError';
    this.code = code;
    this.reason = reason;
    this.details = details;
  }

  toStatus(): Status {
    return {
      kind: 'Status', apiVersion: 'v1', metadata: {}, status: 'Failure', message: this.message, ...(this.reason ? { reason: this.reason } : {}),
      ...(this.details ? { details: this.details } : {}), code: this.code,
    };
  }
}

/** The part of a kind that errors name. `kind` objects satisfy it. */
export interface ResourceName {
  readonly group: string;
  readonly plural: string;
  readonly kind: string;
}

const qualified = (r: { group: string }, word: string): string => (r.group ? `${word}.${r.group}` : word);
const resource = (r: ResourceName): string => qualified(r, r.plural);
const about = (r: ResourceName, name: string): StatusDetails =>
  ({ ...(name ? { name } : {}), ...(r.group ? { group: r.group } : {}), ...(r.plural ? { kind: r.plural } : {}) });

export const notFound = (r: ResourceName, name: string): StatusError =>
  new StatusError(404, 'NotFound', `${resource(r)} "${name}" not found`, about(r, name));
export const alreadyExists = (r: ResourceName, name: string): StatusError =>
  new StatusError(409, 'AlreadyExists', `${resource(r)} "${name}" already exists`, about(r, name));
/** `why` is a full clause; without it, the message of a lost optimistic lock. */
export const conflict = (r: ResourceName, name: string, why = 'the object has been modified; please apply your changes to the latest version and try again'): StatusError =>
  new StatusError(409, 'Conflict', `Operation cannot be fulfilled on ${resource(r)} "${name}": ${why}`, about(r, name));
export const forbidden = (r: ResourceName, name: string, why: string): StatusError =>
  new StatusError(403, 'Forbidden', `${resource(r)}${name ? ` "${name}"` : ''} is forbidden: ${why}`, about(r, name));
export const badRequest = (message: string): StatusError => new StatusError(400, 'BadRequest', message);
export const unauthorized = (message = 'Unauthorized'): StatusError => new StatusError(401, 'Unauthorized', message);
export const methodNotSupported = (r: ResourceName, verb: string): StatusError =>
  new StatusError(405, 'MethodNotAllowed', `${verb} is not supported on resources of kind "${resource(r)}"`, { ...(r.group ? { group: r.group } : {}), kind: r.plural });
export const notAcceptable = (message: string): StatusError => new StatusError(406, 'NotAcceptable', message);
export const unsupportedMediaType = (message: string): StatusError => new StatusError(415, 'UnsupportedMediaType', message);
/** A list or watch from a revision that compaction has passed. */
export const expired = (message: string): StatusError => new StatusError(410, 'Expired', message);
export const gone = (message: string): StatusError => new StatusError(410, 'Gone', message);
export const tooLarge = (message: string): StatusError => new StatusError(413, 'RequestEntityTooLarge', message);
export const tooManyRequests = (message: string, retryAfterSeconds: number, causes?: readonly StatusCause[]): StatusError =>
  new StatusError(429, 'TooManyRequests', message, { retryAfterSeconds, ...(causes ? { causes } : {}) });
export const timeout = (message: string): StatusError => new StatusError(504, 'Timeout', message);
export const unavailable = (message: string): StatusError => new StatusError(503, 'ServiceUnavailable', message);
export const notImplemented = (message: string): StatusError => new StatusError(501, 'NotImplemented', message);
export const internalError = (message: string): StatusError =>
  new StatusError(500, 'InternalError', `Internal error occurred: ${message}`, { causes: [{ reason: 'UnexpectedServerError', message }] });

/** One thing wrong with one field, worded as k8s.io/apimachinery/pkg/util/validation/field words it. */
export interface FieldError {
  readonly type: 'FieldValueRequired' | 'FieldValueInvalid' | 'FieldValueNotSupported' | 'FieldValueDuplicate' | 'FieldValueForbidden' | 'FieldValueTooLong' | 'FieldValueTooMany' | 'FieldValueNotFound';
  readonly field: string;
  readonly message: string;
}

const show = (value: unknown): string => (value === undefined ? 'null' : JSON.stringify(value));
const after = (head: string, detail: string | undefined): string => (detail ? `${head}: ${detail}` : head);

export const fieldRequired = (field: string, detail?: string): FieldError =>
  ({ type: 'FieldValueRequired', field, message: after('Required value', detail) });
export const fieldInvalid = (field: string, value: unknown, detail: string): FieldError =>
  ({ type: 'FieldValueInvalid', field, message: after(`Invalid value: ${show(value)}`, detail) });
export const fieldNotSupported = (field: string, value: unknown, supported: readonly string[]): FieldError =>
  ({ type: 'FieldValueNotSupported', field, message: `Unsupported value: ${show(value)}${supported.length ? `: supported values: ${supported.map(show).join(', ')}` : ''}` });
export const fieldDuplicate = (field: string, value: unknown): FieldError =>
  ({ type: 'FieldValueDuplicate', field, message: `Duplicate value: ${show(value)}` });
export const fieldForbidden = (field: string, detail: string): FieldError =>
  ({ type: 'FieldValueForbidden', field, message: after('Forbidden', detail) });
export const fieldTooLong = (field: string, max: number): FieldError =>
  ({ type: 'FieldValueTooLong', field, message: `Too long: may not be more than ${max} bytes` });

/** 422 with one cause per field error; `name` is the object's name, or its generateName. */
export function invalid(r: ResourceName, name: string, errors: readonly FieldError[]): StatusError {
  // Go's aggregate says everything once.
  const lines = [...new Set(errors.map((e) => `${e.field}: ${e.message}`))];
  const what = lines.length === 1 ? lines[0]! : `[${lines.join(', ')}]`;
  return new StatusError(422, 'Invalid', `${qualified(r, r.kind)} "${name}" is invalid: ${what}`, {
    ...about(r, name), ...(r.kind ? { kind: r.kind } : {}),
    causes: errors.map((e) => ({ reason: e.type, message: e.message, field: e.field })),
  });
}

export const isNotFound = (error: unknown): boolean => error instanceof StatusError && error.reason === 'NotFound';
export const isConflict = (error: unknown): boolean => error instanceof StatusError && error.reason === 'Conflict';
export const isAlreadyExists = (error: unknown): boolean => error instanceof StatusError && error.reason === 'AlreadyExists';
