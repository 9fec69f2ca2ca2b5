import { isIP } from 'node:net';
import { recordType } from './dns-message.ts';

/** 4 or 16 bytes of an address; undefined for what is none. */
export function addressBytes(address: string): Buffer | undefined {
  switch (isIP(address)) {
    case 4: return Buffer.from(address.split('.').map(Number));
    case 6: return bytesOf6(address.split('%')[0] ?? '');
    default: return undefined;
  }
}

function bytesOf6(address: string): Buffer {
  const [head = '', tail] = withoutDots(address).split('::');
  const words = (text: string): number[] => (text === '' ? [] : text.split(':').map((word) => Number.parseInt(word, 16)));
  const [first, last] = [words(head), words(tail ?? '')];
  const all = tail === undefined ? first : [...first, ...Array.from({ length: 8 - first.length - last.length }, () => 0), ...last];
  return Buffer.from(all.flatMap((word) => [word >> 8, word & 255]));
}

/** `::ffff:1.2.3.4` with its last part as two words. */
function withoutDots(address: string): string {
  const last = address.slice(address.lastIndexOf(':') + 1);
  if (!last.includes('.')) return address;
  const [a = 0, b = 0, c = 0, d = 0] = last.split('.').map(Number);
  return `${address.slice(0, -last.length)}${(a << 8 | b).toString(16)}:${(c << 8 | d).toString(16)}`;
}

/** Type of the record that holds an address. */
export const addressType = (bytes: Uint8Array): number => (bytes.length === 4 ? recordType.A : recordType.AAAA);

/** `d.c.b.a.in-addr.arpa`, or the like of IPv6, as bytes; undefined for any other name, also for a part of one. */
export function reverseBytes(name: string): Buffer | undefined {
  const v4 = /^(\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3})\.in-addr\.arpa$/.exec(name)?.[1];
  if (v4) return addressBytes(v4.split('.').reverse().join('.'));
  const v6 = /^((?:[0-9a-f]\.){32})ip6\.arpa$/.exec(name)?.[1];
  return v6 ? Buffer.from(v6.split('.').reverse().join(''), 'hex') : undefined;
}

/** `10-1-0-7`, `2001-db8--1`: an address as one label, as names of pods and endpoints have it. */
export const addressLabel = (address: string): string => address.replaceAll(/[.:]/g, '-');

/** The address that such a label stands for. */
export function labelBytes(label: string): Buffer | undefined {
  return addressBytes(label.replaceAll('-', '.')) ?? addressBytes(label.replaceAll('-', ':'));
}
