//! The columns of a batch of flows, typed, and what their dictionaries mean.
//!
//! All batches of a row group share their dictionaries: each distinct address is parsed and looked up once per row
//! group, and rows are keys after that.

use std::net::IpAddr;

use arrow_array::cast::AsArray;
use arrow_array::types::{Int32Type, Int64Type, TimestampMicrosecondType};
use arrow_array::{Array, ArrayRef, DictionaryArray, RecordBatch, StringArray};
use flowaudit_lake::read::{TableFile, is_same_dictionary};
use flowaudit_lake::table::flows::DIRECTION_OUT;

use crate::error::AnalyzeError;
use crate::identify::Site;
use crate::scan::Scan;

/// The columns the kernel reads, in the order of [`Columns`], and the interface last.
pub(crate) const COLUMNS_AND_ENI: &[&str] = &[
    "start_time",
    "end_time",
    "vpc_id",
    "direction",
    "src_addr",
    "src_port",
    "dst_addr",
    "dst_port",
    "protocol",
    "packets",
    "bytes",
    "tcp_flags",
    "action",
    "vm_id",
    "eni_id",
];

/// The same without the interface.
pub(crate) const COLUMNS: &[&str] = match COLUMNS_AND_ENI.split_last() {
    Some((_, columns)) => columns,
    None => &[],
};

/// What `action` says where a security group or network ACL refused the packets.
const REJECT: &str = "REJECT";

/// One end of a record, as far as its dictionary key tells.
#[derive(Debug, Clone, Copy)]
pub(crate) struct End {
    pub(crate) address: u32,
    pub(crate) hash: u64,
    /// The holding, unless the holder changes meanwhile.
    pub(crate) whole: Option<u32>,
    /// Whether what is declared may change for this end.
    pub(crate) concerned: bool,
    /// Where the holder is: a record of this end made elsewhere speaks against it, see [`Book::site_of`](crate::identify::Book::site_of).
    pub(crate) site: Site,
}

/// What the dictionaries of the row group at hand mean.
#[derive(Debug, Default)]
pub(crate) struct Dictionaries {
    src: Ends,
    dst: Ends,
    vpc_values: Option<ArrayRef>,
    /// The number in `Ends::by_vpc` of the VPC that all rows of the batch stand in.
    only_vpc: Option<usize>,
    is_out: Vec<bool>,
    is_reject: Vec<bool>,
    /// Nodes of the instances.
    nodes: Vec<u32>,
    vm_values: Option<ArrayRef>,
    /// Interfaces that are a pod's own; empty where none is known.
    enis: Vec<u32>,
    eni_values: Option<ArrayRef>,
}

/// The values of one address column, per VPC that its rows stand in (none first).
#[derive(Debug, Default)]
struct Ends {
    values: Option<ArrayRef>,
    by_vpc: Vec<Vec<End>>,
}

impl Dictionaries {
    /// Looks up what is new: once per row group, unless the row group has several VPCs.
    pub(crate) fn update(
        &mut self,
        scan: &Scan<'_>,
        columns: &Columns<'_>,
        file: &TableFile,
    ) -> Result<(), AnalyzeError> {
        self.is_out = flags_of(columns.direction, DIRECTION_OUT);
        self.is_reject = flags_of(columns.action, REJECT);
        let vms = columns.vm.values();
        if !self
            .vm_values
            .as_ref()
            .is_some_and(|known| is_same_dictionary(known, vms))
        {
            let vms_text = vms.as_string::<i32>().iter();
            let book = scan.known.book;
            self.nodes = vms_text
                .map(|vm| vm.map_or(0, |vm| book.node_of_instance(vm)))
                .collect();
            self.vm_values = Some(vms.clone());
        }
        if let Some(eni) = columns.eni.filter(|_| scan.known.book.has_enis()) {
            let values = eni.values();
            let known = self.eni_values.as_ref();
            if !known.is_some_and(|known| is_same_dictionary(known, values)) {
                let book = scan.known.book;
                let names = values.as_string::<i32>().iter();
                self.enis = names
                    .map(|name| book.number_of_eni(name.unwrap_or_default()))
                    .collect();
                self.eni_values = Some(values.clone());
            }
        }
        let vpcs = columns.vpc.values();
        if !self
            .vpc_values
            .as_ref()
            .is_some_and(|known| is_same_dictionary(known, vpcs))
        {
            self.vpc_values = Some(vpcs.clone());
            (self.src, self.dst) = Default::default();
        }
        let mut used = vec![false; vpcs.len() + 1];
        match columns.vpc.null_count() {
            0 => columns
                .vpc
                .keys()
                .values()
                .iter()
                .for_each(|key| used[*key as usize + 1] = true),
            _ => columns
                .vpc
                .keys()
                .iter()
                .for_each(|key| used[key.map_or(0, |key| key as usize + 1)] = true),
        }
        let mut all = (0..used.len()).filter(|vpc| used[*vpc]);
        self.only_vpc = all.next().filter(|_| all.next().is_none());
        self.src
            .update(columns.src, "src_addr", &used, vpcs, scan, file)?;
        self.dst
            .update(columns.dst, "dst_addr", &used, vpcs, scan, file)
    }

    #[inline]
    pub(crate) fn ends(&self, columns: &Columns<'_>, row: usize) -> (End, End) {
        let vpc = match self.only_vpc {
            Some(vpc) => vpc,
            None if columns.vpc.is_null(row) => 0,
            None => columns.vpc.keys().value(row) as usize + 1,
        };
        let src = columns.src.keys().value(row) as usize;
        let dst = columns.dst.keys().value(row) as usize;
        (self.src.by_vpc[vpc][src], self.dst.by_vpc[vpc][dst])
    }

    /// Where a record was made.
    #[inline]
    pub(crate) fn site(&self, columns: &Columns<'_>, row: usize) -> Site {
        let node = match columns.vm.is_null(row) {
            true => 0,
            false => self.nodes[columns.vm.keys().value(row) as usize],
        };
        let eni = match columns.eni {
            Some(eni) if !self.enis.is_empty() => self.enis[eni.keys().value(row) as usize],
            _ => 0,
        };
        Site { node, eni }
    }

    /// Whether a record was made where its packets left, and whether they were rejected.
    #[inline]
    pub(crate) fn signs(&self, columns: &Columns<'_>, row: usize) -> (bool, bool) {
        (
            self.is_out[columns.direction.keys().value(row) as usize],
            self.is_reject[columns.action.keys().value(row) as usize],
        )
    }
}

impl Ends {
    fn update(
        &mut self,
        column: &DictionaryArray<Int32Type>,
        name: &'static str,
        used: &[bool],
        vpcs: &ArrayRef,
        scan: &Scan<'_>,
        file: &TableFile,
    ) -> Result<(), AnalyzeError> {
        if !self
            .values
            .as_ref()
            .is_some_and(|known| is_same_dictionary(known, column.values()))
        {
            self.values = Some(column.values().clone());
            self.by_vpc.clear();
        }
        self.by_vpc.resize(used.len(), Vec::new());
        let texts: &StringArray = column.values().as_string();
        for (vpc, ends) in self
            .by_vpc
            .iter_mut()
            .enumerate()
            .filter(|(vpc, ends)| used[*vpc] && ends.is_empty())
        {
            let vpc = vpc
                .checked_sub(1)
                .map(|key| vpcs.as_string::<i32>().value(key));
            let mut parties = scan.parties();
            ends.reserve(texts.len());
            for text in texts.iter().map(Option::unwrap_or_default) {
                let address: IpAddr = text.parse().map_err(|_| AnalyzeError::Value {
                    file: file.entry().path.clone(),
                    column: name,
                    value: text.chars().take(64).collect(),
                    wanted: "an address",
                })?;
                let (number, known) = parties.address(address, vpc, &scan.known);
                let (hash, whole) = (known.hash, known.whole());
                let (concerned, site) = match whole.map(|whole| parties.holding(whole)) {
                    Some(whole) => (whole.concerned, scan.known.book.site_of(&whole.held)),
                    None => (!scan.known.timeline.is_constant(), Site::ANYWHERE),
                };
                ends.push(End {
                    address: number,
                    hash,
                    whole,
                    concerned,
                    site,
                });
            }
        }
        Ok(())
    }
}

fn flags_of(column: &DictionaryArray<Int32Type>, word: &str) -> Vec<bool> {
    column
        .values()
        .as_string::<i32>()
        .iter()
        .map(|value| value == Some(word))
        .collect()
}

/// The columns of a batch, typed. The lake has checked that they have their table's types.
pub(crate) struct Columns<'b> {
    pub(crate) start: &'b [i64],
    pub(crate) end: &'b [i64],
    vpc: &'b DictionaryArray<Int32Type>,
    direction: &'b DictionaryArray<Int32Type>,
    src: &'b DictionaryArray<Int32Type>,
    src_port: &'b [i32],
    dst: &'b DictionaryArray<Int32Type>,
    dst_port: &'b [i32],
    protocol: &'b [i32],
    pub(crate) packets: &'b [i64],
    pub(crate) bytes: &'b [i64],
    flags: &'b arrow_array::Int32Array,
    action: &'b DictionaryArray<Int32Type>,
    vm: &'b DictionaryArray<Int32Type>,
    /// Where the batch has it.
    eni: Option<&'b DictionaryArray<Int32Type>>,
}

impl<'b> Columns<'b> {
    pub(crate) fn of(batch: &'b RecordBatch) -> Columns<'b> {
        let column = |n: usize| batch.column(n);
        Columns {
            start: column(0)
                .as_primitive::<TimestampMicrosecondType>()
                .values(),
            end: column(1)
                .as_primitive::<TimestampMicrosecondType>()
                .values(),
            vpc: column(2).as_dictionary(),
            direction: column(3).as_dictionary(),
            src: column(4).as_dictionary(),
            src_port: column(5).as_primitive::<Int32Type>().values(),
            dst: column(6).as_dictionary(),
            dst_port: column(7).as_primitive::<Int32Type>().values(),
            protocol: column(8).as_primitive::<Int32Type>().values(),
            packets: column(9).as_primitive::<Int64Type>().values(),
            bytes: column(10).as_primitive::<Int64Type>().values(),
            flags: column(11).as_primitive::<Int32Type>(),
            action: column(12).as_dictionary(),
            vm: column(13).as_dictionary(),
            eni: batch.columns().get(14).map(|eni| eni.as_dictionary()),
        }
    }

    #[inline]
    pub(crate) fn ports(&self, row: usize) -> (u16, u16, u8) {
        (
            self.src_port[row] as u16,
            self.dst_port[row] as u16,
            self.protocol[row] as u8,
        )
    }

    #[inline]
    pub(crate) fn flags(&self, row: usize) -> Option<u8> {
        (!self.flags.is_null(row)).then(|| self.flags.value(row) as u8)
    }
}
