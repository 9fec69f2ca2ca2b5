import { fieldInvalid, fieldTooLong, type FieldError } from './status.ts';

/**
 * Rules for names, labels and keys, worded as k8s.io/apimachinery/pkg/util/validation words them.
 * Each `…Errors` function returns what is wrong, or an empty list. With `prefix`, the text is a generateName and may end in a dash.
 */

const label1123 = '[a-z0-9]([-a-z0-9]*[a-z0-9])?';
const subdomain1123 = `${label1123}(\\.${label1123})*`;
const label1035 = '[a-z]([-a-z0-9]*[a-z0-9])?';
const qualified = '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]';
const labelValue = `(${qualified})?`;
const configKey = '[-._a-zA-Z0-9]+';
const envName = '[-._a-zA-Z][-._a-zA-Z0-9]*';
const headerName = '[-A-Za-z0-9]+';

const whole = (pattern: string): RegExp => new RegExp(`^${pattern}$`);
const label1123Regex = whole(label1123);
const subdomain1123Regex = whole(subdomain1123);
const label1035Regex = whole(label1035);
const qualifiedRegex = whole(qualified);
const labelValueRegex = whole(labelValue);
const configKeyRegex = whole(configKey);
const envNameRegex = whole(envName);
const headerNameRegex = whole(headerName);

const tooLong = (max: number): string => `must be no more than ${max} bytes`;
const empty = 'must be non-empty';

function regexError(message: string, pattern: string, ...examples: string[]): string {
  const shown = examples.map((example) => `'${example}', `).join(' or ');
  return `${message} (${examples.length ? `e.g. ${shown}` : ''}regex used for validation is '${pattern}')`;
}

/** `must be between 1 and 65535, inclusive`. */
export const inclusiveRange = (low: number, high: number): string => `must be between ${low} and ${high}, inclusive`;

const maskTrailingDash = (name: string, prefix: boolean): string => (prefix && name.length > 1 && name.endsWith('-') ? `${name.slice(0, -2)}a` : name);

/** A DNS-1123 subdomain: the name of most objects. */
export function dnsSubdomainErrors(text: string, prefix = false): string[] {
  const name = maskTrailingDash(text, prefix);
  const errors: string[] = [];
  if (name.length > 253) errors.push(tooLong(253));
  if (!subdomain1123Regex.test(name)) errors.push(regexError("a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character", subdomain1123, 'example.com'));
  return errors;
}

/** A DNS-1123 label: the name of a namespace, container or volume. */
export function dnsLabelErrors(text: string, prefix = false): string[] {
  const name = maskTrailingDash(text, prefix);
  const errors: string[] = [];
  if (name.length > 63) errors.push(tooLong(63));
  if (!label1123Regex.test(name)) {
    errors.push(subdomain1123Regex.test(name) ? 'must not contain dots'
      : regexError("a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character", label1123, 'my-name', '123-abc'));
  }
  return errors;
}

/** A DNS-1035 label: the name of a service. */
export function dnsLabel1035Errors(text: string, prefix = false): string[] {
  const name = maskTrailingDash(text, prefix);
  const errors: string[] = [];
  if (name.length > 63) errors.push(tooLong(63));
  if (!label1035Regex.test(name)) errors.push(regexError("a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character", label1035, 'my-name', 'abc-123'));
  return errors;
}

/** A name that only has to be one segment of a path: roles and their bindings. */
export function pathSegmentErrors(name: string, prefix = false): string[] {
  if (!prefix && (name === '.' || name === '..')) return [`may not be '${name}'`];
  return ['/', '%'].filter((illegal) => name.includes(illegal)).map((illegal) => `may not contain '${illegal}'`);
}

const qualifiedError = regexError("must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character", qualified, 'MyName', 'my.name', '123-abc');

/** `name` or `example.com/name`: a label key, a finalizer, a condition type. */
export function qualifiedNameErrors(text: string): string[] {
  const parts = text.split('/');
  if (parts.length > 2) return [`a qualified name ${qualifiedError} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')`];
  const errors: string[] = [];
  const name = parts[parts.length - 1]!;
  if (parts.length === 2) {
    const problems = parts[0] === '' ? [empty] : dnsSubdomainErrors(parts[0]!);
    errors.push(...problems.map((problem) => `prefix part ${problem}`));
  }
  if (name === '') errors.push(`name part ${empty}`);
  else if (name.length > 63) errors.push(`name part ${tooLong(63)}`);
  if (!qualifiedRegex.test(name)) errors.push(`name part ${qualifiedError}`);
  return errors;
}

/** A label value: at most 63 characters, possibly none. */
export function labelValueErrors(text: string): string[] {
  const errors: string[] = [];
  if (text.length > 63) errors.push(tooLong(63));
  if (!labelValueRegex.test(text)) errors.push(regexError("a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character", labelValue, 'MyValue', 'my_value', '12345'));
  return errors;
}

/** An environment variable's name, as pods may have it: printable ASCII but `=`. */
export function envVarNameErrors(text: string): string[] {
  if (text === '') return [`environment variable name ${empty}`];
  return /^[ -<>-~]+$/.test(text) ? [] : ["a valid environment variable name must consist only of printable ASCII characters other than '='"];
}

/** An environment variable's name as shells know it; stricter than {@link envVarNameErrors}. */
export function cIdentifierEnvNameErrors(text: string): string[] {
  const errors: string[] = [];
  if (!envNameRegex.test(text)) errors.push(regexError("a valid environment variable name must consist of alphabetic characters, digits, '_', '-', or '.', and must not start with a digit", envName, 'my.env-name', 'MY_ENV.NAME', 'MyEnvName1'));
  return [...errors, ...dotErrors(text)];
}

function dotErrors(text: string): string[] {
  if (text === '.' || text === '..') return [`must not be '${text}'`];
  return text.startsWith('..') ? ["must not start with '..'"] : [];
}

/** A key of a config map or secret. */
export function configMapKeyErrors(text: string): string[] {
  const errors: string[] = [];
  if (text.length > 253) errors.push(tooLong(253));
  if (!configKeyRegex.test(text)) errors.push(regexError("a valid config key must consist of alphanumeric characters, '-', '_' or '.'", configKey, 'key.name', 'KEY_NAME', 'key-name'));
  return [...errors, ...dotErrors(text)];
}

/** An IANA service name: the name of a port. */
export function portNameErrors(text: string): string[] {
  const errors: string[] = [];
  if (text.length > 15) errors.push(tooLong(15));
  if (!/^[-a-z0-9]+$/.test(text)) errors.push('must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)');
  if (!/[a-z]/.test(text)) errors.push('must contain at least one letter (a-z)');
  if (text.includes('--')) errors.push('must not contain consecutive hyphens');
  if (text.startsWith('-') || text.endsWith('-')) errors.push('must not begin or end with a hyphen');
  return errors;
}

/** The name of an HTTP header. */
export const headerNameErrors = (text: string): string[] =>
  headerNameRegex.test(text) ? [] : [regexError("a valid HTTP header must consist of alphanumeric characters or '-'", headerName, 'X-Header-Name')];

/** A port number. */
export const portNumberErrors = (port: number): string[] => (port >= 1 && port <= 65535 ? [] : [inclusiveRange(1, 65535)]);

/** Rules for `metadata.labels`; `path` such as `metadata.labels`. */
export function validateLabels(labels: Readonly<Record<string, string>> | undefined, path: string): FieldError[] {
  return Object.entries(labels ?? {}).flatMap(([key, text]) => [
    ...qualifiedNameErrors(key).map((problem) => fieldInvalid(path, key, problem)),
    ...labelValueErrors(text).map((problem) => fieldInvalid(path, text, problem)),
  ]);
}

/** Bytes of all keys and values of an object's annotations. */
const annotationsLimitBytes = 256 * 1024;

/** Rules for `metadata.annotations`. */
export function validateAnnotations(annotations: Readonly<Record<string, string>> | undefined, path: string): FieldError[] {
  const entries = Object.entries(annotations ?? {});
  const errors = entries.flatMap(([key]) => qualifiedNameErrors(key.toLowerCase()).map((problem) => fieldInvalid(path, key, problem)));
  const size = entries.reduce((sum, [key, text]) => sum + Buffer.byteLength(key) + Buffer.byteLength(text), 0);
  if (size > annotationsLimitBytes) errors.push(fieldTooLong(path, annotationsLimitBytes));
  return errors;
}

/** No vowels, so that no words come out, and none of 0, 1 and 3, which look like letters. */
const alphabet = 'bcdfghjklmnpqrstvwxz2456789';
const suffixLength = 5;
const maxGeneratedLength = 63;

/** Five characters; `random` as Math.random. */
export function randomSuffix(random: () => number = Math.random): string {
  let suffix = '';
  for (let i = 0; i < suffixLength; i++) suffix += alphabet[Math.floor(random() * alphabet.length)];
  return suffix;
}

/** A name made from a generateName: cut to 58 characters, and a random suffix. */
export const generatedName = (prefix: string, random: () => number = Math.random): string =>
  prefix.slice(0, maxGeneratedLength - suffixLength) + randomSuffix(random);
