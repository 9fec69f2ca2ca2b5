import { badRequest } from './status.ts';

/**
 * Resource quantities as strings, such as `500m`, `1Gi` or `2e3`; what `resource.Quantity` of k8s.io/apimachinery does.
 * Amounts are exact to a billionth; smaller ones round up, away from zero.
 */

type Format = 'decimalSI' | 'binarySI' | 'decimalExponent';

/** Billionths of the base unit, and how to write them. */
interface Amount {
  readonly nano: bigint;
  readonly format: Format;
}

const formatWrong = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";
const numericWrong = 'unable to parse numeric part of quantity';
const suffixWrong = "unable to parse quantity's suffix";

const decimalSuffixes: readonly string[] = ['n', 'u', 'm', '', 'k', 'M', 'G', 'T', 'P', 'E'];
const binarySuffixes: readonly string[] = ['', 'Ki', 'Mi', 'Gi', 'Ti', 'Pi', 'Ei'];
const billion = 1_000_000_000n;
const maxInt64 = 2n ** 63n - 1n;
/** Beyond these, arithmetic would cost more than any quantity is worth. */
const maxExponent = 200;
const maxLength = 512;

const grammar = /^([+-]?)(\d*)(?:\.(\d*))?([eEinumkKMGTP]*[-+]?\d*)$/;

/** Up to nine digits and a common suffix: what nearly every manifest says. */
const common = /^(0|[1-9]\d{0,8})(m|k|M|G|T|Ki|Mi|Gi|Ti)?$/;
const multipliers: Readonly<Record<string, number>> = {
  n: 1e-9, u: 1e-6, m: 1e-3, k: 1e3, M: 1e6, G: 1e9, T: 1e12, P: 1e15, E: 1e18,
  Ki: 2 ** 10, Mi: 2 ** 20, Gi: 2 ** 30, Ti: 2 ** 40, Pi: 2 ** 50, Ei: 2 ** 60,
};

/** Power of ten, or of two, that a suffix stands for. */
function interpret(suffix: string): { format: Format; exponent: number } {
  const decimal = decimalSuffixes.indexOf(suffix);
  if (decimal >= 0) return { format: 'decimalSI', exponent: (decimal - 3) * 3 };
  const binary = binarySuffixes.indexOf(suffix);
  if (binary > 0) return { format: 'binarySI', exponent: binary * 10 };
  if (/^[eE][-+]?\d+$/.test(suffix)) return { format: 'decimalExponent', exponent: Number(suffix.slice(1)) };
  throw badRequest(suffixWrong);
}

const divideUp = (value: bigint, by: bigint): bigint => (value + by - 1n) / by;

function scaled(digits: bigint, exponent: number): bigint {
  if (digits === 0n) return 0n;
  if (exponent > maxExponent) throw badRequest(numericWrong);
  if (exponent >= 0) return digits * 10n ** BigInt(exponent);
  return exponent < -2 * maxLength ? 1n : divideUp(digits, 10n ** BigInt(-exponent));
}

function parse(text: string): Amount {
  const parts = text.length > maxLength || text === '' ? null : grammar.exec(text);
  if (!parts) throw badRequest(formatWrong);
  const [, sign, whole = '', fraction = '', suffix = ''] = parts;
  const { format, exponent } = interpret(suffix);
  const digits = BigInt(whole + fraction || '0');
  const magnitude = format === 'binarySI'
    ? minimum(scaled(digits << BigInt(exponent), 9 - fraction.length), maxInt64 * billion)
    : scaled(digits, exponent - fraction.length + 9);
  return { nano: sign === '-' ? -magnitude : magnitude, format };
}

const minimum = (a: bigint, b: bigint): bigint => (a < b ? a : b);

function print({ nano, format }: Amount): string {
  if (nano === 0n) return '0';
  const sign = nano < 0n ? '-' : '';
  const magnitude = nano < 0n ? -nano : nano;
  const fitsBinary = format === 'binarySI' && magnitude >= 1024n * billion && magnitude % billion === 0n;
  return sign + (fitsBinary ? printBinary(magnitude / billion) : printDecimal(magnitude, format === 'decimalExponent'));
}

function printBinary(value: bigint): string {
  let power = 0;
  while (value % 1024n === 0n && power < binarySuffixes.length - 1) { value /= 1024n; power++; }
  return `${value}${binarySuffixes[power]}`;
}

function printDecimal(nano: bigint, exponential: boolean): string {
  let exponent = -9;
  while (nano % 1000n === 0n && (exponential || exponent < 18)) { nano /= 1000n; exponent += 3; }
  if (!exponential) return `${nano}${decimalSuffixes[exponent / 3 + 3]}`;
  return exponent === 0 ? `${nano}` : `${nano}e${exponent}`;
}

/**
 * The one way in which Kubernetes writes this quantity: `1000m` is `1`, `0.5` is `500m`, `1024Mi` is `1Gi`, `1e3` stays `1e3`.
 * @throws StatusError 400 for what is not a quantity.
 */
export function canonicalQuantity(text: string): string {
  const parts = common.exec(text);
  if (parts) {
    const digits = Number(parts[1]);
    if (digits === 0) return '0';
    if (digits % (parts[2]?.endsWith('i') ? 1024 : 1000) !== 0) return text;
  }
  return print(parse(text.trim()));
}

/** Nearest floating-point number of base units: `500m` is 0.5. @throws StatusError 400 */
export const parseQuantity = (text: string): number => commonNumber(text) ?? toNumber(parse(text).nano);

/** {@link parseQuantity} of what nearly every manifest says, without arithmetic on big integers; undefined for the rest. */
function commonNumber(text: string): number | undefined {
  const parts = common.exec(text);
  if (!parts) return undefined;
  const digits = Number(parts[1]);
  // A division is exact where a multiplication by 0.001 is not.
  return parts[2] === undefined ? digits : parts[2] === 'm' ? digits / 1000 : digits * multipliers[parts[2]]!;
}

function toNumber(nano: bigint): number {
  // One division is exact; beyond 2^53 the parts are added.
  if (nano < 2n ** 53n && nano > -(2n ** 53n)) return Number(nano) / 1e9;
  const whole = nano / billion;
  return Number(whole) + Number(nano - whole * billion) / 1e9;
}

/** Whole units of 10^-9 × `unit`, rounded away from zero. */
function wholeUnits(text: string, unit: bigint): number {
  const { nano } = parse(text);
  return Number(nano < 0n ? -divideUp(-nano, unit) : divideUp(nano, unit));
}

/** Thousandths, rounded up: `0.5` is 500. What CPUs are counted in. @throws StatusError 400 */
export function milliValue(text: string): number {
  const parts = common.exec(text);
  if (!parts || parts[2]?.endsWith('i')) return wholeUnits(text, 1_000_000n);
  return parts[2] === 'm' ? Number(parts[1]) : Number(parts[1]) * 1000 * (parts[2] ? multipliers[parts[2]]! : 1);
}

/** Base units, rounded up: `1.5` is 2, `1Ki` is 1024. @throws StatusError 400 */
export function value(text: string): number {
  const parts = common.exec(text);
  if (!parts || parts[2] === 'm') return wholeUnits(text, billion);
  return Number(parts[1]) * (parts[2] ? multipliers[parts[2]]! : 1);
}

/** {@link value}, where bytes are meant. */
export const bytesValue = value;

/** Canonical quantity of a whole number of bytes, in powers of 1024: 1073741824 is `1Gi`. */
export const formatBytes = (bytes: number): string => print({ nano: BigInt(Math.ceil(bytes)) * billion, format: 'binarySI' });

/** Canonical quantity of thousandths: 500 is `500m`, 2000 is `2`. */
export const fromMilli = (milli: number): string => print({ nano: BigInt(Math.ceil(milli)) * 1_000_000n, format: 'decimalSI' });

/** Negative, zero or positive as `a` is less than, equal to or more than `b`. @throws StatusError 400 */
export function compareQuantity(a: string, b: string): number {
  if (a === b) return 0;
  // Rounding keeps the order, so that unequal numbers decide; only equal ones may hide a difference, and huge ones a limit.
  const [quick = Infinity, other = Infinity] = [commonNumber(a), commonNumber(b)];
  if (quick !== other && quick < 2 ** 53 && other < 2 ** 53) return quick < other ? -1 : 1;
  const left = parse(a).nano;
  const right = parse(b).nano;
  return left < right ? -1 : left > right ? 1 : 0;
}

/** Sum, written in the format of `a`, or of `b` if `a` is zero. @throws StatusError 400 */
export function addQuantity(a: string, b: string): string {
  const left = parse(a);
  const right = parse(b);
  return print({ nano: left.nano + right.nano, format: left.nano === 0n ? right.format : left.format });
}

/** Difference, written as {@link addQuantity} writes sums. @throws StatusError 400 */
export function subtractQuantity(a: string, b: string): string {
  const left = parse(a);
  const right = parse(b);
  return print({ nano: left.nano - right.nano, format: left.nano === 0n ? right.format : left.format });
}

/** Rounds up to a thousandth, as Kubernetes stores resource amounts. @throws StatusError 400 */
export function roundUpToMilli(text: string): string {
  if (common.test(text)) return canonicalQuantity(text);
  const { nano, format } = parse(text);
  const unit = 1_000_000n;
  return print({ nano: (nano < 0n ? -divideUp(-nano, unit) : divideUp(nano, unit)) * unit, format });
}
