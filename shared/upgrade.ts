/** Where an agent fetches a program: `GET …?sha256=HEX` with its certificate, and a `Range: bytes=N-`. */
export const binaryPath = '/agent/v1/binary';

/** Names of architectures as Docker and Kubernetes have them, by Node's. */
export const architectures: Readonly<Record<string, string>> = { x64: 'amd64', arm64: 'arm64', arm: 'arm' };

/** Architecture that a Linux program is for; undefined for a file that does not say so, such as a script. */
export function architectureOf(head: Uint8Array): string | undefined {
  if (head.length < 20 || head[0] !== 0x7f || head[1] !== 0x45 || head[2] !== 0x4c || head[3] !== 0x46) return undefined;
  // e_machine of an ELF header (elf(5)), in the little-endian order of all three.
  return ({ 0x3e: 'amd64', 0xb7: 'arm64', 0x28: 'arm' } as Readonly<Record<number, string>>)[head[18]! | head[19]! << 8] ?? 'unknown';
}
