import { TranslationBundle } from '@jupyterlab/translation';
import { caretDownIcon, caretRightIcon } from '@jupyterlab/ui-components';
import * as React from 'react';

import {
  formatBytes,
  formatMilliseconds,
  harmless,
  harmlessLines,
  Loading,
  parseTime
} from '../components';
import { IServiceCall, IServiceCallDetails, IServiceVersion, ServicesApi } from '../calls/api';
import { messageOf } from '../calls/error';
import { idOf } from '../calls/rows';
import { usePolled } from './polled';

/**
 * How many calls are listed.
 */
const SHOWN = 50;

/**
 * How the time of a call is written.
 */
const CLOCK: Intl.DateTimeFormatOptions = {
  hour: '2-digit',
  minute: '2-digit',
  second: '2-digit',
  hourCycle: 'h23'
};

/**
 * The newest calls of a version, which unfold to what is known of them; for those who may change it.
 */
export function RecentCalls(props: {
  service: IServiceVersion;
  api: ServicesApi;
  seconds: number;
  onKeepBodies: (value: boolean) => Promise<void>;
  trans: TranslationBundle;
}): React.ReactElement {
  const { service, api, seconds, onKeepBodies, trans } = props;
  const { name, version } = service;
  const [isErrorsOnly, setErrorsOnly] = React.useState(false);
  const [unfolded, setUnfolded] = React.useState<number | null>(null);
  const element = React.useRef<HTMLDivElement>(null);
  const { value: calls, trouble } = usePolled(
    signal => api.calls(name, version, { limit: SHOWN, errors: isErrorsOnly }, signal),
    `${idOf(service)}/${isErrorsOnly ? 'errors' : 'calls'}`,
    seconds,
    element
  );
  return (
    <div className="jp-Mlsvc-recent" ref={element}>
      <label className="jp-Mlsvc-tickLine">
        <input
          type="checkbox"
          className="jp-Mlsvc-tickBox"
          checked={isErrorsOnly}
          onChange={event => {
            setErrorsOnly(event.target.checked);
          }}
        />
        {trans.__('Only those that failed')}
      </label>
      {trouble && (
        <div className="jp-Mlsvc-notice jp-mod-trouble" role="alert">
          <p className="jp-Mlsvc-noticeTitle">{trans.__('The calls cannot be read')}</p>
          <p>{trouble}</p>
        </div>
      )}
      {!calls && !trouble && <Loading trans={trans} />}
      {calls?.length === 0 && (
        <p className="jp-Mlsvc-faint">
          {isErrorsOnly
            ? trans.__('None of the newest calls failed.')
            : trans.__('No calls since the server started.')}
        </p>
      )}
      {calls && calls.length > 0 && (
        <div className="jp-Mlsvc-tableFrame jp-Mlsvc-calls">
          <table className="jp-Mlsvc-table jp-mod-wide">
            <caption className="jp-Mlsvc-hidden">{trans.__('Newest calls, newest first')}</caption>
            <thead>
              <tr>
                <th scope="col">{trans.__('Time')}</th>
                <th scope="col">{trans.__('Caller')}</th>
                <th scope="col" className="jp-mod-number">
                  {trans.__('Took')}
                </th>
              </tr>
            </thead>
            <tbody>
              {calls.map(call => (
                <Call
                  key={call.id}
                  call={call}
                  service={service}
                  api={api}
                  isUnfolded={call.id === unfolded}
                  onToggle={() => {
                    setUnfolded(call.id === unfolded ? null : call.id);
                  }}
                  trans={trans}
                />
              ))}
            </tbody>
          </table>
        </div>
      )}
      <KeepBodies service={service} onChange={onKeepBodies} trans={trans} />
    </div>
  );
}

function Call(props: {
  call: IServiceCall;
  service: IServiceVersion;
  api: ServicesApi;
  isUnfolded: boolean;
  onToggle: () => void;
  trans: TranslationBundle;
}): React.ReactElement {
  const { call, service, api, isUnfolded, onToggle, trans } = props;
  const time = parseTime(call.time);
  const Caret = isUnfolded ? caretDownIcon : caretRightIcon;
  const id = `jp-Mlsvc-call-${idOf(service)}-${call.id}`;
  return (
    <>
      <tr className={call.success && !isUnfolded ? '' : 'jp-mod-open'}>
        <td>
          <button
            type="button"
            className="jp-Mlsvc-unfold"
            aria-expanded={isUnfolded}
            aria-controls={isUnfolded ? id : undefined}
            onClick={onToggle}
          >
            <Caret.react tag="span" aria-hidden="true" />
            <time dateTime={time?.toISOString()} title={time?.toLocaleString()}>
              {time?.toLocaleTimeString([], CLOCK) ?? call.time}
            </time>
          </button>
        </td>
        <td className="jp-Mlsvc-caller" title={callerOf(call, trans)}>
          {callerOf(call, trans)}
        </td>
        <td className="jp-mod-number">
          {call.milliseconds === null ? '–' : formatMilliseconds(call.milliseconds)}
        </td>
      </tr>
      {!call.success && !isUnfolded && (
        <tr>
          <td colSpan={3} className="jp-Mlsvc-result jp-Mlsvc-problem">
            {failureOf(call, trans)}
          </td>
        </tr>
      )}
      {isUnfolded && (
        <tr className="jp-Mlsvc-callDetails" id={id}>
          <td colSpan={3}>
            <CallDetails call={call} service={service} api={api} trans={trans} />
          </td>
        </tr>
      )}
    </>
  );
}

/**
 * All that is known of a call.
 */
function CallDetails(props: {
  call: IServiceCall;
  service: IServiceVersion;
  api: ServicesApi;
  trans: TranslationBundle;
}): React.ReactElement {
  const { call, service, api, trans } = props;
  const [details, setDetails] = React.useState<IServiceCallDetails | null>(null);
  const [trouble, setTrouble] = React.useState('');
  const end = React.useRef<HTMLDivElement>(null);
  React.useEffect(() => {
    // The list is in a frame that scrolls.
    end.current?.scrollIntoView({ block: 'nearest' });
  }, [details]);
  React.useEffect(() => {
    const aborter = new AbortController();
    api
      .call(service.name, service.version, call.id, aborter.signal)
      .then(setDetails, (error: unknown) => {
        if (!aborter.signal.aborted) {
          setTrouble(messageOf(error));
        }
      });
    return () => {
      aborter.abort();
    };
  }, [service.name, service.version, call.id]);
  return (
    <>
      {call.problem && <p className="jp-Mlsvc-problem">{harmlessLines(call.problem)}</p>}
      <p className="jp-Mlsvc-faint">
        {trans.__(
          'Status %1, %2 sent, %3 answered',
          call.status,
          formatBytes(call.requestBytes),
          formatBytes(call.answerBytes)
        )}
        {call.requestId && (
          <>
            {', '}
            {trans.__('request')} <code>{call.requestId}</code>
          </>
        )}
      </p>
      {trouble && (
        <p className="jp-Mlsvc-problem" role="alert">
          {trouble}
        </p>
      )}
      {!details && !trouble && <Loading trans={trans} />}
      {details && (
        <>
          <Text title={trans.__('Printed')} text={details.text} />
          <Text title={trans.__('Sent')} text={details.request ?? ''} />
          <Text title={trans.__('Answered')} text={details.answer ?? ''} />
        </>
      )}
      <div ref={end} />
    </>
  );
}

function Text(props: { title: string; text: string }): React.ReactElement | null {
  const { title, text } = props;
  return text ? (
    <>
      <h5>{title}</h5>
      <pre className="jp-Mlsvc-console" tabIndex={0} role="region" aria-label={title}>
        {harmlessLines(text)}
      </pre>
    </>
  ) : null;
}

/**
 * Whether the newest calls are kept with their bodies; changing that makes another revision.
 */
function KeepBodies(props: {
  service: IServiceVersion;
  onChange: (value: boolean) => Promise<void>;
  trans: TranslationBundle;
}): React.ReactElement | null {
  const { service, onChange, trans } = props;
  const [isChanging, setChanging] = React.useState(false);
  const [trouble, setTrouble] = React.useState('');
  const change = async (value: boolean): Promise<void> => {
    setChanging(true);
    setTrouble('');
    try {
      await onChange(value);
    } catch (error) {
      setTrouble(messageOf(error));
    } finally {
      setChanging(false);
    }
  };
  // A server before these lists says nothing of it.
  return service.keepBodies === undefined ? null : (
    <>
      <label className="jp-Mlsvc-tickLine">
        <input
          type="checkbox"
          className="jp-Mlsvc-tickBox"
          checked={service.keepBodies}
          disabled={isChanging}
          onChange={event => {
            void change(event.target.checked);
          }}
        />
        {trans.__('Keep what is sent and answered')}
      </label>
      <p className="jp-Mlsvc-faint">
        {trans.__(
          'In the memory of the server, of the newest calls, for those who may change this version. Inputs may be personal.'
        )}
      </p>
      {trouble && (
        <p className="jp-Mlsvc-problem" role="alert">
          {trouble}
        </p>
      )}
    </>
  );
}

function callerOf({ caller, callerKind }: IServiceCall, trans: TranslationBundle): string {
  const name = harmless(caller);
  switch (callerKind) {
    case 'key':
      return trans.__('key %1', name);
    case 'batch':
      return trans.__('batch of %1', name);
    default:
      return name;
  }
}

/**
 * What went wrong, with the status where that is none of an answer.
 */
function failureOf({ status, problem }: IServiceCall, trans: TranslationBundle): string {
  const words = harmless(problem) || trans.__('Failed');
  return status === 200 ? words : `${status}: ${words}`;
}
