/**
 * Cells that publish a service from a notebook and call it; they need nothing else.
 */
export const EXAMPLE = [
  '%%publish Double V1.0 -i x:numeric=21 -o y:numeric\ny = 2 * x',
  '%consume Double V1.0 x=21'
] as const;
