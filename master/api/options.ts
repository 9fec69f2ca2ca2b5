import { fieldForbidden, fieldInvalid, fieldNotSupported, fieldRequired, invalid, type FieldError } from '../../shared/status.ts';
import { badRequest } from '../../shared/status.ts';
import type { DeleteOptions, Preconditions, Propagation, WriteOptions } from '../registry/types.ts';
import type { Exchange } from './exchange.ts';
import { flag, integer, optionalFlag, revisionProblem, type Query } from './query.ts';

/** Query of a list or watch. Revisions are numbers; undefined where the query has none. */
export interface ListOptions {
  readonly labelSelector: string;
  readonly fieldSelector: string;
  readonly limit: number;
  readonly continueToken: string;
  readonly resourceVersion: number | undefined;
  readonly match: '' | 'Exact' | 'NotOlderThan';
  readonly timeoutSeconds: number | undefined;
  readonly bookmarks: boolean;
  readonly sendInitialEvents: boolean | undefined;
}

const optionsKind = (kind: string): { group: string; plural: string; kind: string } => ({ group: 'meta.k8s.io', plural: '', kind });

/** Throws what apiserver's validation of options throws. */
function check(kind: string, errors: readonly FieldError[]): void {
  if (errors.length > 0) throw invalid(optionsKind(kind), '', errors);
}

/** @throws StatusError 400, 422 */
export function listOptions(query: Query, watch: boolean): ListOptions {
  const options: ListOptions = {
    labelSelector: query.get('labelSelector') ?? '',
    fieldSelector: query.get('fieldSelector') ?? '',
    limit: Math.max(0, integer(query, 'limit') ?? 0),
    continueToken: query.get('continue') ?? '',
    resourceVersion: revision(query.get('resourceVersion')),
    match: (query.get('resourceVersionMatch') ?? '') as ListOptions['match'],
    timeoutSeconds: integer(query, 'timeoutSeconds'),
    bookmarks: flag(query, 'allowWatchBookmarks'),
    sendInitialEvents: optionalFlag(query, 'sendInitialEvents'),
  };
  check('ListOptions', watch ? watchProblems(options) : listProblems(options));
  if (!watch && options.continueToken && options.resourceVersion) throw badRequest('specifying resource version is not allowed when using continue');
  return options;
}

/** A resourceVersion, undefined for none. @throws StatusError 400 */
export function revision(text: string | null): number | undefined {
  if (!text) return undefined;
  const problem = revisionProblem(text);
  if (problem) throw badRequest(`invalid resource version: resourceVersion: ${fieldInvalid('', text, problem).message}`);
  return Number(text);
}

const matchField = 'resourceVersionMatch';

function listProblems({ match, resourceVersion, continueToken, sendInitialEvents }: ListOptions): FieldError[] {
  const errors: FieldError[] = [];
  if (match) {
    if (resourceVersion === undefined) errors.push(fieldForbidden(matchField, 'resourceVersionMatch is forbidden unless resourceVersion is provided'));
    if (continueToken) errors.push(fieldForbidden(matchField, 'resourceVersionMatch is forbidden when continue is provided'));
    if (match !== 'Exact' && match !== 'NotOlderThan') errors.push(fieldNotSupported(matchField, match, ['', 'Exact', 'NotOlderThan']));
    if (match === 'Exact' && resourceVersion === 0) errors.push(fieldForbidden(matchField, 'resourceVersionMatch "exact" is forbidden for resourceVersion "0"'));
  }
  if (sendInitialEvents !== undefined) errors.push(fieldForbidden('sendInitialEvents', 'sendInitialEvents is forbidden for list'));
  return errors;
}

function watchProblems({ match, continueToken, sendInitialEvents }: ListOptions): FieldError[] {
  const errors: FieldError[] = [];
  if (sendInitialEvents !== undefined && match !== 'NotOlderThan') {
    errors.push(fieldForbidden(matchField, 'sendInitialEvents requires setting resourceVersionMatch to NotOlderThan'));
  }
  if (!match) return errors;
  if (sendInitialEvents === undefined) errors.push(fieldForbidden(matchField, 'resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided'));
  if (match !== 'NotOlderThan') errors.push(fieldNotSupported(matchField, match, ['NotOlderThan']));
  if (continueToken) errors.push(fieldForbidden(matchField, 'resourceVersionMatch is forbidden when continue is provided'));
  return errors;
}

type Subresource = NonNullable<WriteOptions['subresource']>;

const validations = ['', 'Ignore', 'Strict', 'Warn'];
const maxManager = 128;

/** Options of a create, update, patch or apply. `apply` requires a manager. @throws StatusError 422 */
export function writeOptions(x: Exchange, kind: 'CreateOptions' | 'UpdateOptions' | 'PatchOptions', subresource: string, apply = false): WriteOptions {
  const { query } = x;
  const asked = query.get('fieldManager') ?? '';
  const validation = query.get('fieldValidation') ?? '';
  const dryRun = query.getAll('dryRun').filter(Boolean);
  const errors = [...managerProblems(asked), ...dryRunProblems(dryRun)];
  if (apply && !asked) errors.push(fieldRequired('fieldManager', 'is required for apply patch'));
  if (kind === 'PatchOptions' && !apply && query.has('force')) errors.push(fieldForbidden('force', 'may not be specified for non-apply patch'));
  if (!validations.includes(validation)) errors.push(fieldNotSupported('fieldValidation', validation, validations));
  check(kind, errors);
  return {
    user: x.user, warn: x.warn, dryRun: dryRun.length > 0,
    fieldManager: asked || managerOf(x.header('user-agent')),
    fieldValidation: (validation || 'Warn') as NonNullable<WriteOptions['fieldValidation']>,
    ...(subresource ? { subresource: subresource as Subresource } : {}),
  };
}

function managerProblems(manager: string): FieldError[] {
  const errors: FieldError[] = [];
  if (manager.length > maxManager) errors.push({ type: 'FieldValueTooLong', field: 'fieldManager', message: `Too long: may not be more than ${maxManager} bytes` });
  const odd = [...manager].find((char) => /[\p{C}\p{Zl}\p{Zp}]/u.test(char));
  if (odd) errors.push(fieldInvalid('fieldManager', manager, 'should only contain printable characters'));
  return errors;
}

function dryRunProblems(dryRun: readonly unknown[]): FieldError[] {
  return dryRun.some((value) => value !== 'All') ? [fieldNotSupported('dryRun', dryRun, ['All'])] : [];
}

/** The manager of a client that names none: its program's name. */
function managerOf(userAgent: string): string {
  const slash = userAgent.indexOf('/');
  const name = slash < 0 ? userAgent : userAgent.slice(0, slash);
  return (/^[ -~]*$/.test(name) ? name : name.replace(/\p{C}/gu, '')).slice(0, maxManager) || 'unknown';
}

interface DeleteDocument {
  readonly kind?: unknown;
  readonly gracePeriodSeconds?: unknown;
  readonly orphanDependents?: unknown;
  readonly propagationPolicy?: unknown;
  readonly preconditions?: unknown;
  readonly dryRun?: unknown;
}

/** What a deletion asks for; `answersAccepted` as `orphanDependents: false` has it: 202 while the object is still there. */
export interface DeleteRequest extends DeleteOptions {
  readonly answersAccepted: boolean;
}

/** Options from a body of kind DeleteOptions or, without a body, from the query. @throws StatusError 400, 422 */
export function deleteOptions(x: Exchange, body: unknown): DeleteRequest {
  const document = body === undefined ? fromQuery(x.query) : body;
  if (typeof document !== 'object' || document === null || Array.isArray(document)) throw badRequest('decoded object cannot be converted to DeleteOptions');
  const given = document as DeleteDocument;
  if (given.kind !== undefined && given.kind !== 'DeleteOptions') throw badRequest('decoded object cannot be converted to DeleteOptions');
  checkTypes(given);
  const dryRun = (given.dryRun ?? []) as unknown[];
  const policy = given.propagationPolicy as Propagation | undefined;
  const orphan = given.orphanDependents as boolean | undefined;
  // A negative grace counts as one second, as in apiserver's `BeforeDelete`.
  const grace = given.gracePeriodSeconds;
  check('DeleteOptions', [...dryRunProblems(dryRun), ...propagationProblems(policy, orphan)]);
  const propagation = policy ?? (orphan === undefined ? undefined : orphan ? 'Orphan' : 'Background');
  return {
    user: x.user, warn: x.warn, dryRun: dryRun.length > 0, answersAccepted: orphan === false,
    ...(typeof grace === 'number' ? { gracePeriodSeconds: grace < 0 ? 1 : grace } : {}),
    ...(propagation ? { propagationPolicy: propagation } : {}),
    ...(given.preconditions ? { preconditions: given.preconditions as Preconditions } : {}),
  };
}

function fromQuery(query: Query): DeleteDocument {
  const dryRun = query.getAll('dryRun').filter(Boolean);
  return {
    gracePeriodSeconds: integer(query, 'gracePeriodSeconds'), orphanDependents: optionalFlag(query, 'orphanDependents'),
    propagationPolicy: query.get('propagationPolicy') ?? undefined, ...(dryRun.length > 0 ? { dryRun } : {}),
  };
}

function checkTypes({ gracePeriodSeconds, orphanDependents, propagationPolicy, preconditions, dryRun }: DeleteDocument): void {
  const wrong = (field: string, type: string): never => {
    throw badRequest(`DeleteOptions in version "v1" cannot be handled as a DeleteOptions: json: cannot unmarshal value into Go struct field DeleteOptions.${field} of type ${type}`);
  };
  if (gracePeriodSeconds !== undefined && gracePeriodSeconds !== null && !Number.isSafeInteger(gracePeriodSeconds)) wrong('gracePeriodSeconds', 'int64');
  if (orphanDependents !== undefined && orphanDependents !== null && typeof orphanDependents !== 'boolean') wrong('orphanDependents', 'bool');
  if (propagationPolicy !== undefined && propagationPolicy !== null && typeof propagationPolicy !== 'string') wrong('propagationPolicy', 'v1.DeletionPropagation');
  if (dryRun !== undefined && dryRun !== null && !Array.isArray(dryRun)) wrong('dryRun', '[]string');
  if (preconditions === undefined || preconditions === null) return;
  const fields = preconditions as Record<string, unknown>;
  if (typeof preconditions !== 'object' || Object.values(fields).some((value) => value !== null && typeof value !== 'string')) wrong('preconditions', 'v1.Preconditions');
}

function propagationProblems(policy: string | undefined | null, orphan: boolean | undefined | null): FieldError[] {
  const errors: FieldError[] = [];
  if (policy && orphan !== undefined && orphan !== null) errors.push(fieldInvalid('propagationPolicy', policy, 'orphanDependents and deletionPropagation cannot be both set'));
  if (policy && !['Background', 'Foreground', 'Orphan'].includes(policy)) errors.push(fieldNotSupported('propagationPolicy', policy, ['Background', 'Foreground', 'Orphan']));
  return errors;
}
