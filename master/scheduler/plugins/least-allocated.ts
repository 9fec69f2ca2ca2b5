import type { Plugin } from './plugin.ts';

/** Prefers nodes that have the larger share of their CPU and memory left. */
export const leastAllocated: Plugin = {
  name: 'LeastAllocated',
  prepare({ expectedCpu, expectedMemory }, snapshot) {
    const cpu = snapshot.column('cpu');
    const memory = snapshot.column('memory');
    return {
      score(slot) {
        const cpuLeft = left(cpu.allocatable[slot]!, snapshot.expectedCpu(slot) + expectedCpu);
        return (cpuLeft + left(memory.allocatable[slot]!, snapshot.expectedMemory(slot) + expectedMemory)) / 2;
      },
    };
  },
};

const left = (capacity: number, used: number): number => (capacity > used ? (capacity - used) * 100 / capacity : 0);
