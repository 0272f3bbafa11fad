//! Numbering schemes: numbers that hold and numbers that don't, all made up or published as examples.
//!
//! Most were drawn at random and told apart by an implementation of others (python-stdnum 2.2), so that an error of ours is not
//! repeated here.

use super::*;

/// Numbers of one scheme.
struct Table {
    scheme: &'static str,
    good: &'static [&'static str],
    bad: &'static [&'static str],
}

const TABLES: &[Table] = &[
    Table {
        scheme: "ae_eid",
        good: &["784-1950-6123100-7", "784-1969-0911114-6", "784-1901-4217743-6"],
        bad: &["784-1984-1234567-9", "783198412345670", "78419841234567"],
    },
    Table {
        scheme: "ar_cuit",
        good: &["30718433009", "30309096076", "20451948203"],
        bad: &["20154524251", "30871501336", "27145982772"],
    },
    Table {
        scheme: "at_svnr",
        good: &["4306210666", "9701060795", "2726091174"],
        bad: &["4771010957", "8288100253", "2571241270"],
    },
    Table {
        scheme: "at_uid",
        good: &["ATU16885832", "ATU87498100", "ATU04222019"],
        bad: &["ATU16569908", "ATU61215466", "ATU60469143"],
    },
    Table {
        scheme: "au_abn",
        good: &["52104986156", "36743695671", "83182595349"],
        bad: &["54492097209", "40292703217", "43406857529"],
    },
    Table {
        scheme: "au_acn",
        good: &["219608170", "771147696", "003677156"],
        bad: &["531256537", "590442637", "719795793"],
    },
    Table {
        scheme: "au_medicare",
        good: &["2123 45670 1", "2428778132", "6603981921"],
        bad: &["2123 45671 1", "7123 45670 1", "212345670"],
    },
    Table {
        scheme: "au_tfn",
        good: &["093695409", "260872525", "314748084"],
        bad: &["121149877", "805538547", "845402881"],
    },
    Table {
        scheme: "base58check",
        good: &[
            "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa",
            "TR7NHqjeKQxGTCi8q8ZY4pL8otSzgjLj6t",
            "LaMT348PWRnrqeeWArpwQPbuanpXDZGEUz",
        ],
        bad: &[
            "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNb",
            "TR7NHqjeKQxGTCi8q8ZY4pL8otSzgjLj6u",
            "0A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa",
        ],
    },
    Table {
        scheme: "be_nn",
        good: &["76060355127", "58070923682", "84040841075"],
        bad: &["69092126734", "93082512247", "57072125260"],
    },
    Table {
        scheme: "be_vat",
        good: &["BE0665472062", "BE0208223465", "BE0013977403"],
        bad: &["BE0317820311", "BE0893994329", "BE0503703373"],
    },
    Table {
        scheme: "bg_egn",
        good: &["7606101820", "7008108186", "9007082352"],
        bad: &["7701258341", "8908253046", "9105069278"],
    },
    Table {
        scheme: "br_cnpj",
        good: &["17670605000192", "51160473000197", "24612940000108"],
        bad: &["73198916000117", "02818922000197", "27270571000163"],
    },
    Table {
        scheme: "br_cpf",
        good: &["21714039269", "91597140503", "69417352440"],
        bad: &["67913655341", "61397497022", "92410372927"],
    },
    Table {
        scheme: "br_pis",
        good: &["12345678900", "170.33259.50-4", "12059775746"],
        bad: &["1203653734", "00000000000", "12096073081"],
    },
    Table {
        scheme: "br_titulo",
        good: &["106644440302", "719993750108", "814384260191"],
        bad: &["043568060907", "04356806090", "123456789900"],
    },
    Table {
        scheme: "ca_sin",
        good: &["791411028", "540447737", "309283992"],
        bad: &["105543345", "198679622", "764696833"],
    },
    Table {
        scheme: "ch_ahv",
        good: &["7567595664671", "7569464586107", "7560249047523"],
        bad: &["7569964516927", "7564941824957", "7568772174288"],
    },
    Table {
        scheme: "ch_uid",
        good: &["CHE928878273", "CHE517111780", "CHE181814159"],
        bad: &["CHE604711655", "CHE916544553", "CHE608571147"],
    },
    Table {
        scheme: "cl_rut",
        good: &["157686682", "139772792", "127259585"],
        bad: &["590469600", "787630999", "74350220K"],
    },
    Table {
        scheme: "cn_rid",
        good: &["110105195509164426", "110105199406098102", "110105196307282410"],
        bad: &["110105197412187988", "110105199912210563", "110105198511201021"],
    },
    Table {
        scheme: "cn_uscc",
        good: &["911100004929406508", "91110000215667523E", "91110000476206298D"],
        bad: &["911100005504900216", "91110000752019767U", "911100001340280793"],
    },
    Table {
        scheme: "co_nit",
        good: &["1435139456", "5139232071", "1505846681"],
        bad: &["0683959691", "7714087619", "7328656610"],
    },
    Table {
        scheme: "cy_tin",
        good: &["10259033P", "00532445O", "12345678F"],
        bad: &["10259033Z", "1025903P", "10259033"],
    },
    Table {
        scheme: "cz_ico",
        good: &["49678566", "45412693", "45794626"],
        bad: &["03266058", "13708573", "60541907"],
    },
    Table {
        scheme: "cz_rc",
        good: &["970420/5610", "731004/4203", "800726/6157"],
        bad: &["741011/9688", "780102/6973", "980602/6504"],
    },
    Table {
        scheme: "de_idnr",
        good: &["71205839637", "20318157693", "16405183196"],
        bad: &["41927378682", "61923313841", "67863512131"],
    },
    Table {
        scheme: "de_kvnr",
        good: &["A000500015", "A123456780", "B902681061"],
        bad: &["A000500016", "A12345678", "1123456780"],
    },
    Table {
        scheme: "de_rvnr",
        good: &["15 070649 C 103", "65170839J003", "65070803A019"],
        bad: &["15070649C104", "15071349C103", "1507064903"],
    },
    Table {
        scheme: "de_vat",
        good: &["DE844085771", "DE666457813", "DE654877046"],
        bad: &["DE355516961", "DE674940368", "DE551321512"],
    },
    Table {
        scheme: "dk_cpr",
        good: &["2010831068", "2101692518", "0901988141"],
        bad: &["3213704567", "0113004567", "2702300000"],
    },
    Table {
        scheme: "dk_cvr",
        good: &["74054714", "86522802", "23023466"],
        bad: &["72587882", "92236136", "94226630"],
    },
    Table {
        scheme: "do_cedula",
        good: &["14558440732", "49122511105", "27703333651"],
        bad: &["21170501657", "90402975950", "83403532875"],
    },
    Table {
        scheme: "ec_cedula",
        good: &["0238806020", "1837060878", "0244620951"],
        bad: &["2249380036", "1253843538", "1148324188"],
    },
    Table {
        scheme: "ee_ik",
        good: &["36005208486", "48902017206", "45405216782"],
        bad: &["37712256977", "46511219372", "45906160133"],
    },
    Table {
        scheme: "es_cif",
        good: &["B28291417", "A28916187", "H28886752"],
        bad: &["H28356832", "B28947975", "B28903461"],
    },
    Table {
        scheme: "es_dni",
        good: &["15523182E", "12703675Q", "53376371H"],
        bad: &["28173481N", "80792272C", "21655889K"],
    },
    Table {
        scheme: "es_nie",
        good: &["X5387484X", "Z1903301X", "X8813824V"],
        bad: &["Y2704471P", "X5278971K", "Z6191045R"],
    },
    Table {
        scheme: "es_nuss",
        good: &["281234567840", "086086126135", "284720278095"],
        bad: &["281234567841", "000000000000", "28123456789"],
    },
    Table {
        scheme: "fi_hetu",
        good: &["091087-4273", "050164-121E", "220570-842E"],
        bad: &["030385-580R", "010658-6729", "050393-172W"],
    },
    Table {
        scheme: "fi_ytunnus",
        good: &["0923221-1", "6614654-7", "4565270-7"],
        bad: &["6447741-1", "1645317-7", "1795892-3"],
    },
    Table {
        scheme: "fr_nir",
        good: &["165068289911953", "276011471015960", "228022359247277"],
        bad: &["136113596318850", "284121463223911", "176100541838016"],
    },
    Table {
        scheme: "fr_siren",
        good: &["977265297", "834792616", "268779808"],
        bad: &["810466865", "911474599", "736773759"],
    },
    Table {
        scheme: "fr_spi",
        good: &["0389510740479", "0653684271296", "0504779946349"],
        bad: &["0475148106190", "2194402305534", "2126330634230"],
    },
    Table {
        scheme: "fr_tva",
        good: &["FR58776101057", "FR73343794178", "FR33906492749"],
        bad: &["FR47295761817", "FR84704586753", "FR42126735927"],
    },
    Table {
        scheme: "gr_afm",
        good: &["467764923", "228733304", "862008908"],
        bad: &["987332719", "750176930", "077672245"],
    },
    Table {
        scheme: "gr_amka",
        good: &["17055217461", "13109167208", "15116303957"],
        bad: &["27037767386", "27096410911", "25115300453"],
    },
    Table {
        scheme: "hk_hkid",
        good: &["A123456(3)", "G123456(A)", "AB987654(3)"],
        bad: &["A123456(4)", "1123456(3)", "A12345(3)"],
    },
    Table {
        scheme: "hr_oib",
        good: &["77717250162", "14938353867", "38769955567"],
        bad: &["75184936178", "65554249547", "97338046675"],
    },
    Table {
        scheme: "hu_taj",
        good: &["111 111 110", "123456788", "037687210"],
        bad: &["123456789", "12345678", "1234567880"],
    },
    Table {
        scheme: "hu_tax",
        good: &["8071592153", "8831844431", "8988042948"],
        bad: &["8365670685", "7365670684", "836567068"],
    },
    Table {
        scheme: "hu_vat",
        good: &["87836967", "72809022", "06419688"],
        bad: &["47614291", "24766193", "44874701"],
    },
    Table {
        scheme: "icao_document",
        good: &["L898902C36", "D231458907", "lz6311t475"],
        bad: &["L898902C35", "D231458908", "L898902C3"],
    },
    Table {
        scheme: "id_nik",
        good: &["3171012409937009", "3171012211747174", "3171011707873747"],
        bad: &["3171013213900001", "3171011500900001", "0171011512900001"],
    },
    Table {
        scheme: "ie_pps",
        good: &["0621065MB", "3928728HH", "9037503PH"],
        bad: &["1282886T", "3007175VH", "7951664R"],
    },
    Table {
        scheme: "il_id",
        good: &["940580020", "175504026", "594890048"],
        bad: &["565630756", "746357677", "369880574"],
    },
    Table {
        scheme: "imei",
        good: &["351948219935181", "353231948757491", "353079244026859"],
        bad: &["351661318609139", "355597971147104", "359746507529170"],
    },
    Table {
        scheme: "in_aadhaar",
        good: &["434056235465", "458043253968", "919466321986"],
        bad: &["376337779821", "261716694214", "947090230345"],
    },
    Table {
        scheme: "in_gstin",
        good: &["27AAPFU0886K1ZE", "16AAPFU3673K1ZI", "21AAPFU8709K1ZO"],
        bad: &["08AAPFU0350K1ZM", "32AAPFU5515K1Z0", "28AAPFU4282K1Z1"],
    },
    Table {
        scheme: "ir_melli",
        good: &["0499370899", "0790419904", "0084575948"],
        bad: &["0499370898", "1111111111", "049937089"],
    },
    Table {
        scheme: "is_kennitala",
        good: &["1504518099", "1001798579", "2402925569"],
        bad: &["2804919009", "2507749969", "2808885949"],
    },
    Table {
        scheme: "isin",
        good: &["DE0000928159", "DE0008528084", "DE0008885393"],
        bad: &["DE0000139624", "DE0005472803", "DE0000047439"],
    },
    Table {
        scheme: "it_cf",
        good: &["RCCMNL83S18D969H", "MRTMTT91D08F205J", "CCCFBA85D03L219P"],
        bad: &["RCCMNL83S18D969G", "MRTMTT91D08F205V", "RCCMNL83S18D96"],
    },
    Table {
        scheme: "it_piva",
        good: &["37246980496", "86886280014", "64479070019"],
        bad: &["09721791107", "65961603363", "64420861555"],
    },
    Table {
        scheme: "jmbg",
        good: &["1504994500424", "2807918503097", "1602928507800"],
        bad: &["0401948500541", "0308981509994", "1209947500822"],
    },
    Table {
        scheme: "jp_corporate",
        good: &["3627570651416", "1085166972649", "5593589443746"],
        bad: &["5169482796088", "2818597581469", "8122989074151"],
    },
    Table {
        scheme: "jp_my_number",
        good: &["123456789018", "5432 1098 7650", "752259325163"],
        bad: &["123456789019", "12345678901", "111111111111"],
    },
    Table {
        scheme: "kr_brn",
        good: &["124-81-00998", "220-81-62517", "120-81-47521", "5336228049"],
        bad: &["0023292245", "0789873612", "226-18-24924"],
    },
    Table {
        scheme: "kr_rrn",
        good: &["790309-2730528", "561120-1394582", "520624-1478216"],
        bad: &["971303-2599387", "670132-2688622", "801216-242615"],
    },
    Table {
        scheme: "kw_civil",
        good: &["294121901426", "285072263362", "274120813231"],
        bad: &["288051701230", "588051701231", "28805170123"],
    },
    Table {
        scheme: "kz_iin",
        good: &["991025083196", "650122284637", "701215965982"],
        bad: &["640220927818", "930906067941", "960314001700"],
    },
    Table {
        scheme: "lei",
        good: &["54937W5EWNOERLAQRE03", "5493FJ7N4VG7JJ9OVS41", "5493CX1I2I7VA599JA57"],
        bad: &["5493K40VSTQQZPT49Z12", "5493PUU3XF6MZKP0EC78", "5493EIW1XF266CCIFU81"],
    },
    Table {
        scheme: "lu_matricule",
        good: &["1893120105732", "1974050871928", "1981120513315"],
        bad: &["1893120105733", "1893130105732", "189312010573"],
    },
    Table {
        scheme: "lv_pk",
        good: &["161175-19997", "32579461005", "171285-14070"],
        bad: &["161175-19998", "16117519990", "150985-17789"],
    },
    Table {
        scheme: "md_idnp",
        good: &["1173454156737", "1341351597012", "1693559459972"],
        bad: &["1668446833177", "1021138061312", "1413993471765"],
    },
    Table {
        scheme: "mx_curp",
        good: &["GOMA620213MDFLRR08", "GOMA780313MDFLRR05", "GOMA560421MDFLRR06"],
        bad: &["GOMA800527HDFLRR06", "GOMA770824MDFLRR07", "GOMA901112HDFLRR01"],
    },
    Table {
        scheme: "mx_rfc",
        good: &["GODE561231GR8", "GOMA991006K14", "GOMA780710K13"],
        bad: &["GOMA720607K19", "GOMA901104K1A", "GOMA830727K19"],
    },
    Table {
        scheme: "my_nric",
        good: &["550209013129", "720506017227", "980109010671"],
        bad: &["851301-01-1234", "850132-01-1234", "850101-00-1234"],
    },
    Table {
        scheme: "nl_bsn",
        good: &["902524835", "689725012", "672594699"],
        bad: &["013355814", "663951325", "505744647"],
    },
    Table {
        scheme: "nl_btw",
        good: &["NL816062328B37", "NL094046220B23", "NL870153900B94"],
        bad: &["NL222954014B06", "NL966810617B31", "NL952315157B44"],
    },
    Table {
        scheme: "no_fnr",
        good: &["11046854375", "15046353371", "23035798439"],
        bad: &["28039951997", "04115350715", "23035589427"],
    },
    Table {
        scheme: "no_orgnr",
        good: &["062580305", "251513430", "097262810"],
        bad: &["949758463", "965099171", "497533931"],
    },
    Table {
        scheme: "nz_ird",
        good: &["074441858", "037189723", "048207111"],
        bad: &["167022077", "244878147", "561251904"],
    },
    Table {
        scheme: "nz_nhi",
        good: &["ZZZ0016", "ZZZ00AX", "JBX3656"],
        bad: &["ZZZ0017", "OZZ0016", "ZZZ00AY"],
    },
    Table {
        scheme: "orcid",
        good: &["0000-0002-1825-0097", "0000-0001-5109-3700", "0000-0002-1694-233X"],
        bad: &["0000-0002-1825-0098", "0000-0002-1694-2330", "0000-0002-1825-009"],
    },
    Table {
        scheme: "pe_ruc",
        good: &["10985603184", "20102963254", "20725044365"],
        bad: &["10111319045", "10516265822", "10616591082"],
    },
    Table {
        scheme: "pl_dowod",
        good: &["ABS123456", "AAA300001", "AYW036733"],
        bad: &["ABS123457", "AB1234567", "ABS12345"],
    },
    Table {
        scheme: "pl_nip",
        good: &["6968998371", "2372824365", "0239644990"],
        bad: &["4560222890", "9112635759", "4330779496"],
    },
    Table {
        scheme: "pl_pesel",
        good: &["55051309547", "82122080720", "71071881137"],
        bad: &["78021238112", "84021340576", "98042199575"],
    },
    Table {
        scheme: "pl_regon",
        good: &["469278723", "418735577", "982616261"],
        bad: &["675980656", "284753718", "829078944"],
    },
    Table {
        scheme: "pt_cc",
        good: &["865405122ZZ3", "708043289ZZ0", "375712379ZZ7"],
        bad: &["545765660ZZ3", "790798968ZZ8", "516761458ZZ7"],
    },
    Table {
        scheme: "pt_nif",
        good: &["572517645", "151347816", "191655996"],
        bad: &["153193003", "176517810", "524585775"],
    },
    Table {
        scheme: "ripple",
        good: &[
            "rHb9CJAWyB4rj91VRWn96DkukG4bwdtyTh",
            "rf1BiGeXwwQoi8Z2ueFYTEXSwuJYfV2Jpn",
            "rvYAfWj5gh67oV6fW32ZzP3Aw4Eubs59B",
        ],
        bad: &[
            "rHb9CJAWyB4rj91VRWn96DkukG4bwdtyTi",
            "r0b9CJAWyB4rj91VRWn96DkukG4bwdtyTh",
            "rHb9CJAWyB4rj91VRWn96Dkuk",
        ],
    },
    Table {
        scheme: "ro_cnp",
        good: &["1870521277910", "1840319295684", "2841210306583"],
        bad: &["2610605310755", "2671207133170", "1981013068580"],
    },
    Table {
        scheme: "ro_cui",
        good: &["46345598", "58954764", "64323830"],
        bad: &["77227553", "53805447", "06316329"],
    },
    Table {
        scheme: "rs_pib",
        good: &["920760993", "951634410", "013325287"],
        bad: &["594123907", "416144161", "170850828"],
    },
    Table {
        scheme: "ru_inn",
        good: &["210246542799", "0482823790", "9470972755"],
        bad: &["9483931116", "582067104769", "3755961550"],
    },
    Table {
        scheme: "ru_snils",
        good: &["896-610-772 62", "473-747-574 34", "494-979-505 79"],
        bad: &["303-385-040 00", "079-169-994 67", "180-812-064 36"],
    },
    Table {
        scheme: "sa_id",
        good: &["1000000008", "2000000006", "1058529940"],
        bad: &["1000000009", "3000000008", "100000000"],
    },
    Table {
        scheme: "se_orgnr",
        good: &["5595519082", "5526064687", "5589013506"],
        bad: &["5585191897", "5557094654", "5585840249"],
    },
    Table {
        scheme: "se_pnr",
        good: &["660918-4996", "651204-9302", "930510-5869"],
        bad: &["930814-6950", "871201-3600", "690708-9212"],
    },
    Table {
        scheme: "sg_nric",
        good: &["S1234567D", "T0123456G", "F1234567N", "G1234567X", "M1234567K"],
        bad: &["S1234567A", "A1234567D", "S123456D"],
    },
    Table {
        scheme: "si_tax",
        good: &["42123348", "52609081", "30717981"],
        bad: &["59507467", "89145765", "14039765"],
    },
    Table {
        scheme: "sk_dph",
        good: &["9240602778", "5521525966", "2076782444"],
        bad: &["7213428076", "3170002016", "8350281945"],
    },
    Table {
        scheme: "th_id",
        good: &["5521250557824", "1185597703398", "3227380528745"],
        bad: &["4766637787148", "3410493206448", "5851004124956"],
    },
    Table {
        scheme: "tr_tckn",
        good: &["76313159230", "93103688008", "47523319554"],
        bad: &["71786637821", "40099462143", "13635996996"],
    },
    Table {
        scheme: "tr_vkn",
        good: &["1081628619", "5048618190", "0667314866"],
        bad: &["6169406006", "2342282177", "4417867931"],
    },
    Table {
        scheme: "tw_id",
        good: &["A123456789", "B142610160", "F131104093"],
        bad: &["A123456788", "A323456789", "A12345678"],
    },
    Table {
        scheme: "ua_rnokpp",
        good: &["7995348664", "4410046213", "3181307509"],
        bad: &["6030714395", "1660453996", "5730003775"],
    },
    Table {
        scheme: "uk_nhs",
        good: &["7107160982", "1125791969", "0086059173"],
        bad: &["0121274778", "3709363211", "0945935042"],
    },
    Table {
        scheme: "uk_utr",
        good: &["7869823182", "9938716242", "7822351948"],
        bad: &["2591920838", "2069424600", "4895539354"],
    },
    Table {
        scheme: "uk_vat",
        good: &["GB485221796", "GB274043613", "GB103031993"],
        bad: &["GB838826323", "GB449990385", "GB069513324"],
    },
    Table {
        scheme: "us_aba",
        good: &["046454827", "010776735", "098094963"],
        bad: &["063867444", "070326661", "023810480"],
    },
    Table {
        scheme: "us_cusip",
        good: &["128311438", "332916758", "508973955"],
        bad: &["362204722", "928393492", "208204170"],
    },
    Table {
        scheme: "us_dea",
        good: &["AB1234563", "MJ1234563", "BB1388568"],
        bad: &["AB1234560", "AB123456", "1B1234563"],
    },
    Table {
        scheme: "us_npi",
        good: &["1234567893", "1003000126", "1245319599"],
        bad: &["1234567892", "3234567893", "123456789"],
    },
    Table {
        scheme: "uy_cedula",
        good: &["1.234.567-2", "5.320.838-8", "5.978.024-5"],
        bad: &["1.234.567-3", "123456", "4.765.214-9"],
    },
    Table {
        scheme: "ve_rif",
        good: &["V951310588", "V949548550", "J607210666"],
        bad: &["V026706989", "E822306735", "V881786682"],
    },
    Table {
        scheme: "vin",
        good: &["1M8GDM9AXKP042788", "1HGCM82633A004352", "5GZCZ43D13S812715"],
        bad: &["1M8GDM9A0KP042788", "1HGCM82633A00435", "IHGCM82633A004352"],
    },
    Table {
        scheme: "za_id",
        good: &["8304030353088", "9608113508080", "6910190791081"],
        bad: &["9102260498088", "6807271432081", "6505036381082"],
    },
];

#[test]
fn numbers_are_told_apart() {
    let mut wrong = Vec::new();
    for Table { scheme, good, bad } in TABLES {
        let scheme = Scheme::find(scheme).unwrap_or_else(|| panic!("no scheme {scheme}"));
        assert!(good.len() >= 3 && bad.len() >= 3, "{} has too few numbers", scheme.name());
        let refused = good.iter().filter(|number| !scheme.accepts(number.as_bytes()));
        wrong.extend(refused.map(|number| format!("{} refuses {number}", scheme.name())));
        let accepted = bad.iter().filter(|number| scheme.accepts(number.as_bytes()));
        wrong.extend(accepted.map(|number| format!("{} accepts {number}", scheme.name())));
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_scheme_has_a_table_a_source_and_a_name_of_its_own() {
    let mut names: Vec<&str> = Scheme::all().map(Scheme::name).collect();
    for scheme in Scheme::all() {
        assert!(TABLES.iter().any(|table| table.scheme == scheme.name()), "{} has no table", scheme.name());
        assert!(!scheme.source().is_empty(), "{} has no source", scheme.name());
    }
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count);
}

#[test]
fn one_digit_repeated_is_a_placeholder() {
    for scheme in Scheme::all() {
        for digit in ["0", "1", "9"] {
            for len in 1..=20 {
                let number = digit.repeat(len);
                assert!(!scheme.accepts(number.as_bytes()), "{} accepts {number}", scheme.name());
            }
        }
    }
}

/// Neither separators, nor cuts, nor any byte at any place makes one panic.
#[test]
fn no_bytes_panic() {
    for Table { scheme, good, .. } in TABLES {
        let scheme = Scheme::find(scheme).unwrap_or_else(|| panic!("no scheme {scheme}"));
        for number in *good {
            for place in 0..number.len() {
                let _ = scheme.accepts(&number.as_bytes()[..place]);
                for byte in 0..=u8::MAX {
                    let mut changed = number.as_bytes().to_vec();
                    changed[place] = byte;
                    let _ = scheme.accepts(&changed);
                }
            }
        }
    }
}

/// The schemes whose numbers have no check digit: dates and places are all there is to check.
const UNCHECKED: &[&str] = &["dk_cpr", "id_nik", "kr_rrn", "my_nric", "lv_pk", "cz_rc"];

#[test]
fn most_slips_of_one_digit_are_found() {
    for Table { scheme, good, .. } in TABLES.iter().filter(|table| !UNCHECKED.contains(&table.scheme)) {
        let scheme = Scheme::find(scheme).unwrap_or_else(|| panic!("no scheme {scheme}"));
        let (mut slips, mut found) = (0, 0);
        for number in *good {
            for place in (0..number.len()).filter(|&place| number.as_bytes()[place].is_ascii_digit()) {
                for digit in (b'0'..=b'9').filter(|digit| *digit != number.as_bytes()[place]) {
                    let mut changed = number.as_bytes().to_vec();
                    changed[place] = digit;
                    slips += 1;
                    found += usize::from(!scheme.accepts(&changed));
                }
            }
        }
        assert!(found * 10 >= slips * 8, "{}: {found} of {slips} slips are found", scheme.name());
    }
}
