import { Notebook } from '@jupyterlab/notebook';

/**
 * Code of a notebook to publish.
 */
export interface ISelectedCode {
  /**
   * Code of the cells, in their order; there is some in each.
   */
  sources: string[];

  /**
   * Id of the last cell of it.
   */
  cellId: string;
}

/**
 * The code of the selected cells, else of the active one; null if there is no code among them.
 */
export function selectedCode(notebook: Notebook): ISelectedCode | null {
  const cells = notebook.widgets
    .filter(cell => cell.model.type === 'code' && notebook.isSelectedOrActive(cell))
    .map(cell => cell.model);
  const sources = cells.map(cell => cell.sharedModel.getSource()).filter(source => source.trim());
  const last = cells.at(-1);
  return last && sources.length > 0 ? { sources, cellId: last.id } : null;
}

/**
 * Make the cell of a node the active one, unless it is chosen already.
 */
export function activate(notebook: Notebook, node: HTMLElement | undefined): void {
  const index = notebook.widgets.findIndex(cell => cell.node === node);
  const cell = notebook.widgets[index];
  if (cell && !notebook.isSelectedOrActive(cell)) {
    notebook.deselectAll();
    notebook.activeCellIndex = index;
  }
}

/**
 * Add a code cell below another one and make it the active cell.
 *
 * The cell is added to the shared model, wherever others have moved the one above by now.
 *
 * @returns Whether it was added; a notebook that is closed or read-only takes none.
 */
export function insertBelow(notebook: Notebook, cellId: string, source: string): boolean {
  const { model } = notebook;
  if (notebook.isDisposed || !model || model.readOnly) {
    return false;
  }
  const { sharedModel } = model;
  const above = sharedModel.cells.findIndex(cell => cell.getId() === cellId);
  const index = above < 0 ? sharedModel.cells.length : above + 1;
  sharedModel.insertCell(index, { cell_type: 'code', source, metadata: { trusted: true } });
  notebook.deselectAll();
  notebook.activeCellIndex = index;
  void notebook.scrollToItem(index).catch(() => undefined);
  return true;
}
