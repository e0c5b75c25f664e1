import { ISharedCell, YNotebook } from '@jupyter/ydoc';
import { Notebook } from '@jupyterlab/notebook';
import { beforeEach, describe, expect, it } from 'vitest';

import { insertBelow, selectedCode } from '../../src/publish/cells';

/**
 * A notebook widget over a real shared document.
 */
function notebookOf(document: YNotebook, selected: number[]): Notebook {
  const widgets = document.cells.map((cell: ISharedCell, at) => ({
    at,
    model: { id: cell.getId(), type: cell.cell_type, sharedModel: cell }
  }));
  return {
    isDisposed: false,
    model: { sharedModel: document, readOnly: false },
    widgets,
    activeCellIndex: selected[0],
    isSelectedOrActive: (widget: { at: number }) => selected.includes(widget.at),
    deselectAll: () => undefined,
    scrollToItem: () => Promise.resolve()
  } as unknown as Notebook;
}

describe('cells of a notebook', () => {
  let document: YNotebook;
  const sources = (): string[] => document.cells.map(cell => cell.getSource());

  beforeEach(() => {
    document = YNotebook.create();
    document.insertCells(0, [
      { cell_type: 'code', source: '%%remote_exec -i x\ny = x' },
      { cell_type: 'markdown', source: 'Text' },
      { cell_type: 'code', source: '%%remote_exec\nz = y' }
    ]);
  });

  it('gives the code of all that are selected, a cell each', () => {
    const selected = selectedCode(notebookOf(document, [0, 1, 2]));

    expect(selected).toEqual({
      sources: ['%%remote_exec -i x\ny = x', '%%remote_exec\nz = y'],
      cellId: document.cells[2]?.getId()
    });
  });

  it('gives nothing for text', () => {
    expect(selectedCode(notebookOf(document, [1]))).toBeNull();
  });

  it('adds the call below its cell, wherever that has gone meanwhile', () => {
    const notebook = notebookOf(document, [0]);
    const cellId = document.cells[0]?.getId() ?? '';
    document.insertCell(0, { cell_type: 'code', source: 'somebody else was here' });

    expect(insertBelow(notebook, cellId, '%consume iris')).toBe(true);
    expect(sources().slice(0, 3)).toEqual([
      'somebody else was here',
      '%%remote_exec -i x\ny = x',
      '%consume iris'
    ]);
    expect(notebook.activeCellIndex).toBe(2);
  });

  it('adds nothing to a notebook that is closed', () => {
    const notebook = notebookOf(document, [0]);
    Object.assign(notebook, { isDisposed: true });

    expect(insertBelow(notebook, '', '%consume iris')).toBe(false);
    expect(sources()).toHaveLength(3);
  });
});
