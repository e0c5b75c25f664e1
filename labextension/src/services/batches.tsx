import { TranslationBundle } from '@jupyterlab/translation';
import { caretDownIcon, caretRightIcon, deleteIcon, stopIcon } from '@jupyterlab/ui-components';
import * as React from 'react';

import { Button, harmless, harmlessLines, IconButton, Loading } from '../components';
import { BatchesApi, IBatch, IBatchRecord, isActive } from './batchapi';
import { IServiceVersion } from '../calls/api';
import { messageOf } from '../calls/error';
import { idOf } from '../calls/rows';
import { confirm } from '../list';
import { usePolled } from './polled';

/**
 * How many batches are listed, and records of one at a time.
 */
const SHOWN = 20;
const PAGE = 20;

/**
 * The batches of a version that its reader started, the newest first, with how far they are.
 */
export function Batches(props: {
  service: IServiceVersion;
  api: BatchesApi;
  apiUrl: string;
  seconds: number;
  trans: TranslationBundle;
}): React.ReactElement {
  const { service, api, apiUrl, seconds, trans } = props;
  const element = React.useRef<HTMLDivElement>(null);
  const ended = React.useRef(new Map<string, IBatch>());
  const [unfolded, setUnfolded] = React.useState<string | null>(null);
  const {
    value: batches,
    trouble,
    refresh
  } = usePolled(
    signal => api.list(service, SHOWN, ended.current, signal),
    `${idOf(service)}/batches`,
    seconds,
    element
  );
  return (
    <div className="jp-Mlsvc-batches" ref={element}>
      {trouble && (
        <div className="jp-Mlsvc-notice jp-mod-trouble" role="alert">
          <p className="jp-Mlsvc-noticeTitle">{trans.__('The batches cannot be read')}</p>
          <p>{trouble}</p>
        </div>
      )}
      {!batches && !trouble && <Loading trans={trans} />}
      {batches?.length === 0 && (
        <p className="jp-Mlsvc-faint">
          {trans.__('You have no batches of this version. In a notebook, this starts one:')}{' '}
          <code>{`%batch ${service.name} ${service.version} rows`}</code>
        </p>
      )}
      {batches && batches.length > 0 && (
        <ol className="jp-Mlsvc-batchList" aria-label={trans.__('Batches')}>
          {batches.map(batch => (
            <Batch
              key={batch.id}
              batch={batch}
              service={service}
              api={api}
              apiUrl={apiUrl}
              isUnfolded={batch.id === unfolded}
              onToggle={() => {
                setUnfolded(batch.id === unfolded ? null : batch.id);
              }}
              onChanged={refresh}
              trans={trans}
            />
          ))}
        </ol>
      )}
    </div>
  );
}

interface IBatchProps {
  batch: IBatch;
  service: IServiceVersion;
  api: BatchesApi;
  apiUrl: string;
  isUnfolded: boolean;
  onToggle: () => void;
  onChanged: () => void;
  trans: TranslationBundle;
}

function Batch(props: IBatchProps): React.ReactElement {
  const { batch, service, api, isUnfolded, onToggle, onChanged, trans } = props;
  const [trouble, setTrouble] = React.useState('');
  const Caret = isUnfolded ? caretDownIcon : caretRightIcon;
  const id = `jp-Mlsvc-batch-${batch.id}`;
  const attempt = async (work: () => Promise<void>): Promise<void> => {
    setTrouble('');
    try {
      await work();
    } catch (error) {
      setTrouble(messageOf(error));
    }
  };
  const progress = progressOf(batch, trans);
  return (
    <li data-batch={batch.id}>
      <div className="jp-Mlsvc-batchHead">
        <button
          type="button"
          className="jp-Mlsvc-unfold"
          aria-expanded={isUnfolded}
          aria-controls={isUnfolded ? id : undefined}
          title={batch.id}
          onClick={onToggle}
        >
          <Caret.react tag="span" aria-hidden="true" />
          {stateOf(batch, trans)}
        </button>
        {isActive(batch) ? (
          <IconButton
            icon={stopIcon}
            label={trans.__('Cancel the batch; its results until then are kept')}
            onClick={() => {
              void attempt(async () => {
                await api.cancel(service, batch.id);
                onChanged();
              });
            }}
          />
        ) : (
          <IconButton
            icon={deleteIcon}
            label={trans.__('Delete the batch with its results…')}
            onClick={() => {
              void attempt(async () => {
                if (await mayDelete(batch, trans)) {
                  await api.delete(service, batch.id);
                  onChanged();
                }
              });
            }}
          />
        )}
      </div>
      <progress
        aria-label={trans.__('Records that are done')}
        aria-valuetext={progress}
        className={batch.failed > 0 ? 'jp-mod-failed' : ''}
        value={batch.completed}
        max={Math.max(batch.total, 1)}
      />
      <p className="jp-Mlsvc-faint">{progress}</p>
      {(batch.reason || trouble) && (
        <p className="jp-Mlsvc-problem" role={trouble ? 'alert' : undefined}>
          {harmlessLines(trouble || batch.reason)}
        </p>
      )}
      {isUnfolded && (
        <div id={id}>
          <Records {...props} />
        </div>
      )}
    </li>
  );
}

/**
 * Results of a batch, a page at a time, with the files that records wrote.
 */
function Records(props: IBatchProps): React.ReactElement {
  const { batch, service, api, apiUrl, trans } = props;
  const [first, setFirst] = React.useState(0);
  const element = React.useRef<HTMLDivElement>(null);
  // What has ended stays as it is.
  const seconds = isActive(batch) ? 3 : 3600;
  const { value: records, trouble } = usePolled(
    signal => api.records(service, batch.id, first, PAGE, signal),
    `${batch.id}/${first}`,
    seconds,
    element
  );
  const last = Math.min(first + PAGE, batch.total);
  const url = `${apiUrl}/${api.path(service, batch.id).map(encodeURIComponent).join('/')}`;
  return (
    <div ref={element} className="jp-Mlsvc-records">
      {trouble && (
        <p className="jp-Mlsvc-problem" role="alert">
          {trouble}
        </p>
      )}
      {!records && !trouble && <Loading trans={trans} />}
      {records && records.length > 0 && (
        <div className="jp-Mlsvc-tableFrame">
          <table className="jp-Mlsvc-table jp-mod-wide">
            <caption className="jp-Mlsvc-hidden">{trans.__('Results of the batch')}</caption>
            <thead>
              <tr>
                <th scope="col">{trans.__('Record')}</th>
                <th scope="col">{trans.__('Result')}</th>
                <th scope="col">{trans.__('Files')}</th>
              </tr>
            </thead>
            <tbody>
              {records.map((record, at) => (
                <tr key={first + at} className={hasFailed(record) ? 'jp-mod-error' : ''}>
                  <td className="jp-mod-number">{first + at}</td>
                  <td className="jp-Mlsvc-result" title={resultOf(record, trans)}>
                    {resultOf(record, trans)}
                  </td>
                  <td>
                    <Files record={record} number={first + at} url={url} {...props} />
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
      <div className="jp-Mlsvc-formActions">
        {batch.total > PAGE && (
          <>
            <Button
              disabled={first === 0}
              onClick={() => {
                setFirst(Math.max(first - PAGE, 0));
              }}
            >
              {trans.__('Previous')}
            </Button>
            <Button
              disabled={last >= batch.total}
              onClick={() => {
                setFirst(first + PAGE);
              }}
            >
              {trans.__('Next')}
            </Button>
            <span className="jp-Mlsvc-faint">
              {trans.__('%1 to %2 of %3', first, last - 1, batch.total)}
            </span>
          </>
        )}
        <a
          className="jp-Mlsvc-link"
          href={`${url}?showPartialResults=true`}
          download={`${batch.id}.json`}
        >
          {trans.__('Download all results')}
        </a>
      </div>
    </div>
  );
}

/**
 * Names of the files that a record wrote; asked for when somebody wants to know.
 */
function Files(
  props: IBatchProps & { record: IBatchRecord; number: number; url: string }
): React.ReactElement | null {
  const { record, number, url, batch, service, api, trans } = props;
  const [names, setNames] = React.useState<readonly string[] | null>(null);
  const [trouble, setTrouble] = React.useState('');
  if (record.finished === false) {
    return null;
  }
  if (trouble) {
    return <span className="jp-Mlsvc-problem">{trouble}</span>;
  }
  if (!names) {
    return (
      <button
        type="button"
        className="jp-Mlsvc-link"
        aria-label={trans.__('Show files of record %1', number)}
        onClick={() => {
          api.files(service, batch.id, number).then(setNames, (error: unknown) => {
            setTrouble(messageOf(error));
          });
        }}
      >
        {trans.__('show')}
      </button>
    );
  }
  return names.length === 0 ? (
    <span className="jp-Mlsvc-faint">{trans.__('none')}</span>
  ) : (
    <>
      {names.map(name => (
        <div key={name}>
          <a
            className="jp-Mlsvc-link"
            href={`${url}/${number}/files/${encodeURIComponent(name)}`}
            download={name}
          >
            {harmless(name)}
          </a>
        </div>
      ))}
    </>
  );
}

function mayDelete(batch: IBatch, trans: TranslationBundle): Promise<boolean> {
  return confirm({
    title: trans.__('Delete the batch?'),
    body: [
      trans._n(
        'Its result for %1 record goes with it.',
        'Its results for %1 records go with it.',
        batch.completed
      )
    ],
    accept: trans.__('Delete'),
    trans
  });
}

function hasFailed(record: IBatchRecord): boolean {
  return record.finished !== false && !record.success;
}

function resultOf(record: IBatchRecord, trans: TranslationBundle): string {
  if (record.finished === false) {
    return trans.__('not yet');
  }
  return harmless(record.success ? JSON.stringify(record.outputParameters) : record.errorMessage);
}

function stateOf(batch: IBatch, trans: TranslationBundle): string {
  switch (batch.state) {
    case 'Pending':
      return trans.__('Waiting');
    case 'InProgress':
      return trans.__('Running');
    case 'Complete':
      return trans.__('Complete');
    case 'Cancelled':
      return trans.__('Cancelled');
    default:
      return trans.__('Failed');
  }
}

function progressOf({ completed, total, failed }: IBatch, trans: TranslationBundle): string {
  const done = trans.__('%1 of %2 records', completed.toLocaleString(), total.toLocaleString());
  return failed > 0 ? `${done}, ${trans._n('%1 failed', '%1 failed', failed)}` : done;
}
