import { clone } from './clone.ts';
import { canonicalQuantity } from './quantity.ts';
import { nodeOf, type Node, type Schema } from './schema.ts';
import { badRequest, fieldInvalid, fieldNotSupported, fieldRequired, type FieldError } from './status.ts';
import { isTime } from './time.ts';

/** What decoding made of a document. */
export interface Decoded<T> {
  /** Pruned to the schema; defaulted if that was asked for. Shares nothing with the input but `anything()` subtrees. */
  readonly value: T;
  /** Paths of fields that the schema does not name, such as `spec.template.spec.foo`. */
  readonly unknown: readonly string[];
  readonly errors: readonly FieldError[];
}

export interface DecodeOptions {
  /** Fill in the schema's defaults and report missing fields. Off for apply configurations, which may be partial. */
  readonly complete: boolean;
}

interface Context {
  readonly complete: boolean;
  readonly path: (string | number)[];
  readonly unknown: string[];
  readonly errors: FieldError[];
  /** Go struct whose field is being read, for the wording of type errors. */
  struct: string;
}

type Reader = (input: unknown, context: Context) => unknown;

/** Go struct name of a definition: its last segment. */
const structName = (definition: string): string => definition.slice(definition.lastIndexOf('.') + 1);

const goTypes: Record<string, string> = {
  int32: 'int32', int64: 'int64', double: 'float64', byte: '[]uint8', 'date-time': 'v1.Time', 'micro-time': 'v1.MicroTime',
  quantity: 'resource.Quantity', 'int-or-string': 'intstr.IntOrString',
};

function goType(node: Node): string {
  if (node.facts.format) return goTypes[node.facts.format] ?? node.facts.format;
  switch (node.type) {
    case 'object': {
      const parts = (node.facts.definition ?? 'struct').split('.');
      return parts.slice(-2).join('.');
    }
    case 'array': return `[]${node.item ? goType(node.item) : 'interface {}'}`;
    case 'record': return `map[string]${node.item ? goType(node.item) : 'interface {}'}`;
    case 'boolean': return 'bool';
    case 'number': return 'float64';
    case 'string': case 'picklist': return 'string';
    case 'union': case 'unknown': return 'interface {}';
  }
}

function jsonType(input: unknown): string {
  if (Array.isArray(input)) return 'array';
  if (typeof input === 'boolean') return 'bool';
  return typeof input;
}

/** `spec.containers[0].name`. */
export function pathText(path: readonly (string | number)[]): string {
  let text = '';
  for (const part of path) text += typeof part === 'number' ? `[${part}]` : text ? `.${part}` : part;
  return text;
}

function wrongType(input: unknown, node: Node, context: Context): never {
  const dotted = context.path.filter((part) => typeof part === 'string').join('.');
  const what = typeof input === 'number' && node.type === 'number' ? `number ${input}` : jsonType(input);
  throw badRequest(`json: cannot unmarshal ${what} into Go struct field ${context.struct}.${dotted} of type ${goType(node)}`);
}

function runChecks(node: Node, value: unknown, context: Context): void {
  for (const check of node.checks) {
    const result = check['~run']({ typed: true, value }, {});
    for (const issue of result.issues ?? []) context.errors.push(fieldInvalid(pathText(context.path), value, issue.message));
  }
}

const readers = new WeakMap<Node, Reader>();

function readerOf(node: Node): Reader {
  let reader = readers.get(node);
  if (!reader) {
    // Registered before it is built, for recursive schemas.
    let built: Reader | undefined;
    reader = (input, context) => (built ??= checked(node, buildReader(node)))(input, context);
    readers.set(node, reader);
  }
  return reader;
}

function checked(node: Node, reader: Reader): Reader {
  if (node.checks.length === 0) return reader;
  return (input, context) => {
    const value = reader(input, context);
    if (context.complete) runChecks(node, value, context);
    return value;
  };
}

function buildReader(node: Node): Reader {
  switch (node.type) {
    case 'object': return objectReader(node);
    case 'array': return arrayReader(node);
    case 'record': return recordReader(node);
    case 'string': return stringReader(node);
    case 'number': return numberReader(node);
    case 'boolean': return (input, context) => (typeof input === 'boolean' ? input : wrongType(input, node, context));
    case 'picklist': return picklistReader(node);
    case 'union': return (input, context) =>
      typeof input === 'string' || (typeof input === 'number' && Number.isInteger(input)) ? input : wrongType(input, node, context);
    case 'unknown': return (input) => input;
  }
}

interface FieldReader {
  readonly name: string;
  readonly node: Node;
  readonly read: Reader;
  /** An optional list or map: an empty one is an absent one, as Go's `omitempty` has it. */
  readonly optionalContainer: boolean;
  /** Every object has a property of this name; only an own one counts. */
  readonly inherited: boolean;
  /** Whether something is to be done where a document does not have it. */
  readonly completed: boolean;
}

function fieldReader(name: string, node: Node): FieldReader {
  const { required, fallback, type } = node;
  return {
    name, node, read: readerOf(node), inherited: name in Object.prototype,
    completed: required || fallback !== undefined,
    optionalContainer: !required && fallback === undefined && (type === 'array' || type === 'record'),
  };
}

const isEmpty = (value: unknown): boolean => (Array.isArray(value) ? value.length === 0 : Object.keys(value as object).length === 0);

function objectReader(node: Node): Reader {
  const struct = structName(node.facts.definition ?? '');
  const preserves = node.facts.preserveUnknown === true;
  let fields: FieldReader[] | undefined;
  return (input, context) => {
    if (typeof input !== 'object' || input === null || Array.isArray(input)) wrongType(input, node, context);
    fields ??= [...node.fields].map(([name, child]) => fieldReader(name, child));
    const source = input as Record<string, unknown>;
    const target: Record<string, unknown> = preserves ? { ...source } : {};
    const outer = context.struct;
    context.struct = struct;
    for (const field of fields) {
      // Most fields of most documents are not there: the look-up is what a document costs.
      const given = field.inherited && !Object.hasOwn(source, field.name) ? undefined : source[field.name];
      if (given !== undefined && given !== null) readField(field, given, target, context);
      else if (field.completed && context.complete) completeField(field, target, context);
    }
    context.struct = outer;
    if (!preserves) noteUnknown(node, source, context);
    return target;
  };
}

/** A field that a document lacks, or has as null. */
function completeField(field: FieldReader, target: Record<string, unknown>, context: Context): void {
  target[field.name] = field.node.fallback !== undefined ? readFallback(field, context) : readMissing(field, context);
}

function readField(field: FieldReader, given: unknown, target: Record<string, unknown>, context: Context): void {
  context.path.push(field.name);
  const value = field.read(given, context);
  // Go drops an empty string of an optional field (`omitempty`), and a default takes its place.
  if (value === '' && !field.node.required && field.node.type !== 'union') {
    if (context.complete && field.node.fallback !== undefined && field.node.fallback !== '') target[field.name] = field.node.fallback;
    else if (field.node.type !== 'picklist') target[field.name] = value;
  } else if (value === '' && context.complete && isRequiredText(field.node)) {
    context.errors.push(fieldRequired(pathText(context.path)));
    target[field.name] = value;
  } else if (!(context.complete && field.optionalContainer && isEmpty(value))) target[field.name] = value;
  context.path.pop();
}

const isRequiredText = ({ required, type, facts }: Node): boolean => required && (type === 'picklist' || (type === 'string' && !facts.format));

/** What Go holds for each type where a document says nothing, so that rules over several fields find what their types promise. */
const zeros: Readonly<Record<Node['type'], unknown>> = {
  object: {}, record: {}, array: [], string: '', picklist: '', number: 0, boolean: false, union: 0, unknown: null,
};

/** A missing required field. An object is reported by what it lacks, if it lacks anything; a port is 0, which its own rule reports. */
function readMissing({ name, node, read }: FieldReader, context: Context): unknown {
  context.path.push(name);
  const before = context.errors.length;
  const value = node.type === 'object' ? read({}, context) : clone(zeros[node.type]);
  if (node.type !== 'union' && context.errors.length === before) context.errors.push(fieldRequired(pathText(context.path)));
  context.path.pop();
  return value;
}

/** A default; one that is an object gets the defaults of its own fields. */
const readFallback = ({ node, read }: FieldReader, context: Context): unknown =>
  (node.type === 'object' ? read(node.fallback, context) : clone(node.fallback));

function noteUnknown(node: Node, source: Record<string, unknown>, context: Context): void {
  for (const name in source) {
    if (!node.fields.has(name)) context.unknown.push(pathText([...context.path, name]));
  }
}

function arrayReader(node: Node): Reader {
  const item = node.item!;
  const read = readerOf(item);
  return (input, context) => {
    if (!Array.isArray(input)) wrongType(input, node, context);
    return (input as unknown[]).map((element, index) => {
      context.path.push(index);
      const value = element === null && item.type === 'object' ? read({}, context) : read(element, context);
      context.path.pop();
      return value;
    });
  };
}

function recordReader(node: Node): Reader {
  const item = node.item!;
  const read = readerOf(item);
  return (input, context) => {
    if (typeof input !== 'object' || input === null || Array.isArray(input)) wrongType(input, node, context);
    const target: Record<string, unknown> = {};
    for (const key of Object.keys(input as object)) {
      const element = (input as Record<string, unknown>)[key];
      context.path.push(key);
      const value = element === null && item.type === 'string' ? '' : read(element, context);
      // An assignment would set the prototype.
      if (key === '__proto__') Object.defineProperty(target, key, { value, enumerable: true, configurable: true, writable: true });
      else target[key] = value;
      context.path.pop();
    }
    return target;
  };
}

const base64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;

function stringReader(node: Node): Reader {
  switch (node.facts.format) {
    case 'quantity': return (input, context) => {
      if (typeof input !== 'string' && typeof input !== 'number') wrongType(input, node, context);
      return canonicalQuantity(String(input));
    };
    case 'date-time': case 'micro-time': return (input, context) => {
      if (typeof input !== 'string') wrongType(input, node, context);
      if (!isTime(input as string)) throw badRequest(`parsing time ${JSON.stringify(JSON.stringify(input))} as "\\"2006-01-02T15:04:05Z07:00\\"": cannot parse ${JSON.stringify(input)} as "2006"`);
      return input;
    };
    case 'byte': return (input, context) => {
      if (typeof input !== 'string') wrongType(input, node, context);
      const text = (input as string).replace(/[\r\n]/g, '');
      if (!base64.test(text)) throw badRequest(`illegal base64 data at input byte ${Math.max(0, text.search(/[^A-Za-z0-9+/]/))}`);
      return text;
    };
    default: return (input, context) => (typeof input === 'string' ? input : wrongType(input, node, context));
  }
}

function numberReader(node: Node): Reader {
  const { format } = node.facts;
  if (format === 'double') return (input, context) => (typeof input === 'number' ? input : wrongType(input, node, context));
  const limit = format === 'int32' ? 2 ** 31 : 2 ** 63;
  return (input, context) =>
    typeof input === 'number' && Number.isInteger(input) && input < limit && input >= -limit ? input : wrongType(input, node, context);
}

function picklistReader(node: Node): Reader {
  return (input, context) => {
    if (typeof input !== 'string') wrongType(input, node, context);
    if (input !== '' && context.complete && !node.options.includes(input as string)) {
      context.errors.push(fieldNotSupported(pathText(context.path), input, [...node.options].sort()));
    }
    return input;
  };
}

/**
 * Reads a JSON document by a schema, as a Kubernetes API server decodes, prunes, defaults and validates one.
 * @throws StatusError 400 where a value has the wrong JSON type or cannot be parsed (worded as Go's decoder words it).
 */
export function decode<T>(schema: Schema, input: unknown, options: DecodeOptions): Decoded<T> {
  const context: Context = { complete: options.complete, path: [], unknown: [], errors: [], struct: '' };
  const value = readerOf(nodeOf(schema))(input, context) as T;
  return { value, unknown: context.unknown, errors: context.errors };
}
