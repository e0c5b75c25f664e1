import { TranslationBundle } from '@jupyterlab/translation';
import { deleteIcon, downloadIcon } from '@jupyterlab/ui-components';
import * as React from 'react';

import {
  Button,
  Empty,
  formatBytes,
  harmless,
  Loading,
  RelativeTime,
  Trouble,
  useSignal
} from '../components';
import { Actions, Detail, Facts, ListPage, loadIcon, ObjectTable, Section, Table } from '../list';
import { IMlsvc } from '../tokens';
import { ISnapshot, ISnapshotContents } from './api';
import { nameOf } from './commands';
import { SnapshotsModel } from './model';
import { SnapshotDetail } from './open';
import { SnapshotCommandIDs } from './tokens';

interface IViewProps {
  model: SnapshotsModel;
  mlsvc: IMlsvc;
}

/**
 * The list of snapshots, or the one that is open.
 */
export function Snapshots(props: IViewProps): React.ReactElement {
  const { model } = props;
  useSignal(model.changed);
  return model.open ? (
    <OpenSnapshot key={model.open.id} {...props} detail={model.open} />
  ) : (
    <SnapshotList {...props} />
  );
}

function SnapshotList({ model, mlsvc }: IViewProps): React.ReactElement {
  const { trans, app } = mlsvc;
  const execute = (command: string) => () => {
    void app.commands.execute(command);
  };
  const remove = execute(SnapshotCommandIDs.delete);
  return (
    <ListPage
      label={trans.__('Snapshots')}
      className="jp-MlsvcSnapshots"
      model={model}
      trans={trans}
      actions={[
        {
          icon: downloadIcon,
          label: trans.__('Download'),
          execute: execute(SnapshotCommandIDs.download)
        },
        { icon: deleteIcon, label: trans.__('Delete'), execute: remove }
      ]}
      aside={<Total model={model} trans={trans} />}
      empty={
        <Empty title={trans.__('No snapshots')}>
          <p>
            {trans.__(
              'A snapshot keeps the objects and files of a session. Open a session to take one, or run %1 in a notebook.',
              '%mlsvc snapshot'
            )}
          </p>
        </Empty>
      }
      render={snapshot => <SnapshotLines snapshot={snapshot} trans={trans} />}
      nameOf={nameOf}
      onDelete={remove}
    />
  );
}

/**
 * How much there is, while nothing is chosen.
 */
function Total(props: {
  model: SnapshotsModel;
  trans: TranslationBundle;
}): React.ReactElement | null {
  const { model, trans } = props;
  const { list, choice } = model;
  useSignal(list.changed);
  useSignal(choice.changed);
  const snapshots = list.value ?? [];
  if (choice.selected.size > 0 || snapshots.length === 0) {
    return null;
  }
  return <span className="jp-MlsvcList-aside">{totalText(snapshots, trans)}</span>;
}

function totalText(snapshots: readonly ISnapshot[], trans: TranslationBundle): string {
  const bytes = snapshots.reduce((sum, { contentSize }) => sum + contentSize, 0);
  return trans._n('%1 snapshot, %2', '%1 snapshots, %2', snapshots.length, formatBytes(bytes));
}

function SnapshotLines(props: {
  snapshot: ISnapshot;
  trans: TranslationBundle;
}): React.ReactElement {
  const { snapshot, trans } = props;
  const { name, contentSize, creationTime, runtimeType, skipped = [] } = snapshot;
  const leftOut = skipped.length > 0 && trans._n('%1 left out', '%1 left out', skipped.length);
  return (
    <>
      <span className="jp-MlsvcList-line">
        <span className="jp-MlsvcList-name" title={harmless(name)}>
          {harmless(name)}
        </span>
        <span className="jp-MlsvcList-aside">{formatBytes(contentSize)}</span>
      </span>
      <span className="jp-MlsvcList-line jp-mod-second">
        <span className="jp-MlsvcList-text">
          {[runtimeType, leftOut].filter(Boolean).join(', ')}
        </span>
        <span className="jp-MlsvcList-aside">
          <RelativeTime time={creationTime} trans={trans} />
        </span>
      </span>
    </>
  );
}

// --- one snapshot --------------------------------------------------------------------------------

function OpenSnapshot(props: IViewProps & { detail: SnapshotDetail }): React.ReactElement {
  const { detail, model, mlsvc } = props;
  const { id, contents } = detail;
  const { trans, app } = mlsvc;
  useSignal(contents.changed);
  useSignal(model.list.changed);
  const inside = contents.value;
  const known = inside ?? model.find([id])[0];
  const back = trans.__('Back to the snapshots');
  const leave = (): void => {
    model.show(null);
  };
  const execute = (command: string) => () => {
    void app.commands.execute(command, { id });
  };
  return (
    <Detail
      title={known ? harmless(nameOf(known)) : trans.__('Snapshot')}
      back={back}
      trans={trans}
      onBack={leave}
      actions={
        !detail.isGone && (
          <Actions
            actions={[
              {
                icon: loadIcon,
                label: trans.__('Load into a session'),
                execute: execute(SnapshotCommandIDs.load)
              },
              {
                icon: downloadIcon,
                label: trans.__('Download'),
                execute: execute(SnapshotCommandIDs.download)
              },
              {
                icon: deleteIcon,
                label: trans.__('Delete the snapshot'),
                execute: execute(SnapshotCommandIDs.delete)
              }
            ]}
          />
        )
      }
    >
      {detail.isGone ? (
        <Empty title={trans.__('This snapshot was deleted')}>
          <p>{trans.__('Services that were made of it keep working.')}</p>
          <div>
            <Button onClick={leave}>{back}</Button>
          </div>
        </Empty>
      ) : (
        <>
          {contents.trouble && (
            <Trouble
              trouble={contents.trouble}
              trans={trans}
              onRetry={() => void contents.load()}
            />
          )}
          {!inside && !contents.trouble && <Loading trans={trans} />}
          {inside && <Contents inside={inside} trans={trans} />}
        </>
      )}
    </Detail>
  );
}

function Contents(props: {
  inside: ISnapshotContents;
  trans: TranslationBundle;
}): React.ReactElement {
  const { inside, trans } = props;
  const { objects, files, skippedFiles, services, packages } = inside;
  const kept = objects.filter(object => object.kept);
  const leftOut = [
    ...objects.filter(object => !object.kept),
    ...skippedFiles.map(({ path, reason }) => ({ name: path, type: trans.__('file'), reason }))
  ];
  const runtime = [inside.runtimeType, inside.runtimeVersion].filter(Boolean).join(' ');
  const packageList = Object.entries(packages);
  return (
    <>
      <Facts
        facts={[
          [trans.__('Size'), formatBytes(inside.contentSize)],
          [trans.__('Taken'), <RelativeTime key="time" time={inside.creationTime} trans={trans} />],
          [trans.__('Runtime'), runtime],
          [
            trans.__('Used by'),
            services.length > 0 ? (
              <ul className="jp-MlsvcDetail-plain">
                {services.map(({ name, version }) => (
                  <li key={`${name} ${version}`}>{`${name} ${version}`}</li>
                ))}
              </ul>
            ) : (
              trans.__('no service')
            )
          ],
          [trans.__('Id'), <code key="id">{inside.id}</code>]
        ]}
      />
      {leftOut.length > 0 && (
        <Section title={trans.__('Left out')} count={leftOut.length}>
          <dl className="jp-MlsvcDetail-reasons">
            {leftOut.map(({ name, type, reason }) => (
              <React.Fragment key={`${type} ${name}`}>
                <dt>
                  <code>{harmless(name)}</code> <span className="jp-MlsvcDetail-hint">{type}</span>
                </dt>
                <dd>{reason}</dd>
              </React.Fragment>
            ))}
          </dl>
        </Section>
      )}
      <Section title={trans.__('Objects')} count={kept.length}>
        {kept.length === 0 ? (
          <p className="jp-MlsvcDetail-hint">{trans.__('It holds no objects.')}</p>
        ) : (
          <ObjectTable label={trans.__('Objects')} objects={kept} trans={trans} />
        )}
      </Section>
      <Section title={trans.__('Files')} count={files.length}>
        {files.length === 0 ? (
          <p className="jp-MlsvcDetail-hint">{trans.__('It holds no files.')}</p>
        ) : (
          <Table
            label={trans.__('Files')}
            columns={[
              { title: trans.__('Path'), width: 'auto' },
              { title: trans.__('Size'), width: '5em', isNumeric: true }
            ]}
            rows={files.map(({ path, size }) => ({
              key: path,
              cells: [path, formatBytes(size)]
            }))}
          />
        )}
      </Section>
      {packageList.length > 0 && (
        <Section title={trans.__('Packages')} count={packageList.length} isOpen={false}>
          <Table
            label={trans.__('Packages')}
            columns={[
              { title: trans.__('Name'), width: '65%' },
              { title: trans.__('Version'), width: '35%' }
            ]}
            rows={packageList.map(([name, version]) => ({ key: name, cells: [name, version] }))}
          />
        </Section>
      )}
    </>
  );
}
