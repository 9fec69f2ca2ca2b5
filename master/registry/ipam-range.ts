/** IPv4 addresses of a CIDR block, as numbers. */
export interface Range {
  readonly first: number;
  readonly size: number;
  readonly text: string;
}

/** @throws Error for what is not an IPv4 CIDR block such as `10.96.0.0/16` */
export function parseRange(text: string): Range {
  const [address = '', bits = ''] = text.split('/');
  const length = Number(bits);
  const number = ipNumber(address);
  if (number === undefined || bits === '' || !Number.isInteger(length) || length < 0 || length > 32) throw new Error(`not an IPv4 range: ${JSON.stringify(text)}`);
  const size = 2 ** (32 - length);
  return { first: Math.floor(number / size) * size, size, text };
}

/** `10.0.0.1` as a number, or undefined. */
export function ipNumber(text: string): number | undefined {
  const parts = text.split('.');
  if (parts.length !== 4 || !parts.every((part) => /^(?:0|[1-9]\d{0,2})$/.test(part) && Number(part) < 256)) return undefined;
  return parts.reduce((sum, part) => sum * 256 + Number(part), 0);
}

/** A number as `10.0.0.1`. */
export const ipText = (ip: number): string =>
  `${Math.floor(ip / 2 ** 24)}.${Math.floor(ip / 65536) % 256}.${Math.floor(ip / 256) % 256}.${ip % 256}`;

/** Whether an address lies in a range. */
export function contains(range: Range, address: string): boolean {
  const ip = ipNumber(address);
  return ip !== undefined && ip >= range.first && ip < range.first + range.size;
}

/** The first address that a host can have: the API's own service. */
export const firstAddress = (range: Range): string => ipText(range.first + 1);
